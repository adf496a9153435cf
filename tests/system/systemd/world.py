"""What the tests of the units share: systemctl, clients that launch the real shim, and a clean slate. Leaves out what is expected."""

import json
import os
import pathlib
import select
import shutil
import subprocess
import time
import unittest

HOME = pathlib.Path.home()
RUNTIME = pathlib.Path(os.environ["XDG_RUNTIME_DIR"])
UNITS = HOME / ".config/systemd/user"
PACKAGING = pathlib.Path("/run/tests/checkout/packaging/systemd")
BIN = HOME / ".cargo/bin"
SHIM = BIN / "python-interpreter-mcp"
DAEMON = "python-interpreter-mcpd.service"
SOCKET = "python-interpreter-mcpd.socket"
INTERPRETER = "python-interpreter.service"
INTERPRETER_SOCKET = "python-interpreter.socket"
ALL = (SOCKET, INTERPRETER_SOCKET, DAEMON, INTERPRETER)
# How long an event that should come at once is waited for: generous, because the machine is shared.
PATIENCE = 30


def run(*command, check=True, **options):
    done = subprocess.run(command, text=True, capture_output=True, timeout=PATIENCE, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}\n{log()}")
    return done


def log():
    """The end of the journal, for a person."""
    return subprocess.run(["journalctl", "--user", "--no-pager", "--lines=20"], text=True, capture_output=True, timeout=PATIENCE).stdout


def systemctl(*arguments, check=True):
    return run("systemctl", "--user", *arguments, check=check).stdout.strip()


def show(unit, name):
    return systemctl("show", f"--property={name}", "--value", unit)


def journal(*arguments):
    """The daemon's entries, as objects."""
    text = run("journalctl", "--user", "--output=json", "--unit", DAEMON, *arguments, check=False).stdout
    return [json.loads(line) for line in text.splitlines()]


def until(what, is_so, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        found = is_so()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.01)


def drop_in(unit, *lines):
    folder = UNITS / f"{unit}.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.conf").write_text("\n".join(lines) + "\n")
    systemctl("daemon-reload")


def processes(word="python-interpreter"):
    """Living processes of this user whose command line has the word."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if word in line.split(" ", 1)[0] and state not in "ZX":
            found.append((int(folder.name), line))
    return found


class Shim:
    """A client with the real shim, launched as clients do: with few variables, XDG_RUNTIME_DIR not among them."""

    def __init__(self, **variables):
        environment = {name: os.environ[name] for name in ("HOME", "LOGNAME", "PATH", "SHELL", "USER")}
        self.process = subprocess.Popen(
            [SHIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment | variables
        )
        self.buffer = b""
        self.answered = set()
        self.last = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()

    def finish(self):
        """Closes its input, as clients do; what it says before it ends in good order."""
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0
        return self.buffer + self.process.stdout.read()

    def send(self, method, **parameters):
        self.last += 1
        self.write({"jsonrpc": "2.0", "id": self.last, "method": method, "params": parameters})
        return self.last

    def write(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def read_line(self, patience):
        deadline = time.monotonic() + patience
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"no answer within {patience} s")
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                self.process.wait(PATIENCE)
                raise AssertionError(f"the shim ended: {self.process.stderr.read().decode()}")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def answer(self, identity, patience=PATIENCE):
        """The answer to a request; another answer to one that has had its own is an error."""
        while True:
            message = self.read_line(patience)
            if "method" in message:
                continue
            assert message["id"] not in self.answered, f"answered twice: {message}"
            assert message["id"] == identity, message
            self.answered.add(identity)
            return message

    def initialize(self):
        client = {"name": "systemd-test", "version": "7.5"}
        begun = self.send("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
        answer = self.answer(begun)
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer.get("result", answer.get("error"))

    def send_call(self, code):
        return self.send("tools/call", name="execute_python_code", arguments={"source_code": code})

    def call(self, code):
        return self.answer(self.send_call(code))

    def stdout(self, code):
        answer = self.call(code)
        return answer["result"]["structuredContent"]["stdout"] if "result" in answer else answer["error"]["message"]


class UnitTest(unittest.TestCase):
    """Begins with the shipped units as they are, listening, and nothing running."""

    def setUp(self):
        clean()
        for unit in PACKAGING.glob("*.s*"):
            shutil.copy(unit, UNITS)
        systemctl("daemon-reload")
        systemctl("start", SOCKET, INTERPRETER_SOCKET)

    def tearDown(self):
        clean()


def clean():
    """Stops and forgets all. What is left then was left behind."""
    # One that was stopped by a signal would not hear of the end.
    systemctl("kill", "--signal=SIGCONT", DAEMON, check=False)
    systemctl("stop", *ALL, check=False)
    systemctl("reset-failed", check=False)
    shutil.rmtree(UNITS, ignore_errors=True)
    UNITS.mkdir(parents=True)
    systemctl("daemon-reload")
    until("nothing is left", lambda: not processes())
    shutil.rmtree(RUNTIME / "python-interpreter-mcp", ignore_errors=True)
