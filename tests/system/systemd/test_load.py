"""The daemon is killed, restarted and replaced under the load of many clients: none is disconnected, each request has one answer, and no
code runs twice."""

import os
import pathlib
import shutil
import signal
import threading

from fake_interpreter import FakeInterpreter
from world import ALL, BIN, DAEMON, HOME, INTERPRETER, RUNTIME, Shim, UnitTest, drop_in, processes, run, show, systemctl, until

CLIENTS = 20
# In the gate; `tests/soak` takes more.
KILLS = int(os.environ.get("PYTHON_INTERPRETER_MCP_TEST_KILLS", "40"))
RESTARTS = 50
DELAY = 0.002
OTHER_BUILD = pathlib.Path("/run/tests/other")


class Load:
    """Clients that call without a pause until they are stopped."""

    def __init__(self):
        self.right, self.lost, self.failures = [], [], []
        self.ready = 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        until("all clients call", lambda: self.ready == CLIENTS or self.failures)
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def client(self, number):
        try:
            with Shim() as shim:
                shim.initialize()
                self.call(shim, f"{number} is ready")
                self.ready += 1
                calls = 0
                while not self.over.is_set():
                    calls += 1
                    self.call(shim, f"{number} {calls}")
                last = f"{number} is still here"
                assert shim.stdout(last) == last
                self.right.append(last)
                rest = shim.finish()
                assert b'"id"' not in rest, f"nobody asked for {rest}"
        except BaseException as failure:
            self.failures.append(failure)
            self.over.set()

    def call(self, shim, code):
        answer = shim.call(code)
        if "error" in answer:
            assert answer["error"]["code"] == -32603 and "may or may not have run" in answer["error"]["message"], answer
            self.lost.append(code)
        else:
            assert answer["result"]["isError"] is False and answer["result"]["structuredContent"]["stdout"] == code, answer
            self.right.append(code)

    def goes_on(self):
        """Waits until each client may have called once more."""
        before = len(self.right)
        until("calls are answered", lambda: self.failures or len(self.right) > before + CLIENTS)
        if self.failures:
            raise self.failures[0]


def main_process():
    """What systemctl says, sooner."""
    group = show(DAEMON, "ControlGroup")
    processes = pathlib.Path(f"/sys/fs/cgroup{group}/cgroup.procs")

    def look():
        try:
            found = processes.read_text().split()
        except OSError:
            return None
        for process in found:
            try:
                if os.readlink(f"/proc/{process}/exe") == str(BIN / "python-interpreter-mcpd"):
                    return int(process)
            except OSError:
                pass
        return None

    return look


def state_files():
    return [path for path in (HOME / ".local/state/python-interpreter-mcp").rglob("*") if path.is_file()]


class Replaced(UnitTest):
    def setUp(self):
        super().setUp()
        self.interpreter = FakeInterpreter(DELAY)
        self.addCleanup(self.interpreter.close)
        drop_in(DAEMON, "[Service]", f"Environment=PYTHON_INTERPRETER_MCP_URL={self.interpreter.url}")

    def check(self, load, most_lost):
        self.assertEqual(load.failures, [])
        self.assertLessEqual(len(load.lost), most_lost)
        twice = [code for code, runs in self.interpreter.runs.items() if runs > 1]
        self.assertEqual(twice, [])
        self.assertEqual([code for code in load.right if self.interpreter.runs[code] != 1], [])

    def test_kills_disconnect_nobody_and_run_nothing_twice(self):
        before = {*os.listdir("/tmp"), *os.listdir("/var/tmp"), *state_files()}
        with Load() as load:
            process = main_process()
            for _ in range(KILLS):
                killed = until("a daemon serves", process)
                os.kill(killed, signal.SIGKILL)
                until("another one serves", lambda: process() not in (None, killed))
                load.goes_on()
        self.check(load, most_lost=2 * KILLS * CLIENTS)
        self.assertEqual([line for _, line in processes()], [line for _, line in processes(str(BIN / "python-interpreter-mcpd")) if "serve" in line])
        self.assertEqual(len(processes()), 1)
        self.assertEqual(show("python-interpreter-mcpd.socket", "ActiveState"), "active")
        systemctl("stop", *ALL)
        self.assertEqual(processes(), [])
        left = [path.name for path in (RUNTIME / "python-interpreter-mcp").iterdir()]
        self.assertEqual([name for name in left if not name.endswith(".lock")], [])
        self.assertEqual({*os.listdir("/tmp"), *os.listdir("/var/tmp"), *state_files()} - before, set())

    def test_fifty_restarts_cost_no_call(self):
        with Load() as load:
            for _ in range(RESTARTS):
                systemctl("restart", DAEMON)
                load.goes_on()
        self.check(load, most_lost=0)

    def test_an_upgrade_costs_no_call(self):
        program = BIN / "python-interpreter-mcpd"
        first = run("sha256sum", program).stdout.split()[0]
        with Load() as load:
            # As an installer does: whoever runs the old file keeps it.
            shutil.copy(OTHER_BUILD / "python-interpreter-mcpd", f"{program}.new")
            os.replace(f"{program}.new", program)
            load.goes_on()
            self.assertEqual(run("sha256sum", f"/proc/{show(DAEMON, 'MainPID')}/exe").stdout.split()[0], first)
            systemctl("restart", DAEMON, INTERPRETER)
            load.goes_on()
            self.assertNotEqual(run("sha256sum", f"/proc/{show(DAEMON, 'MainPID')}/exe").stdout.split()[0], first)
        self.check(load, most_lost=0)
