"""Starting, stopping and failing under a real systemd, seen from a client that launches the real shim."""

import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

from world import (ALL, BIN, DAEMON, HOME, INTERPRETER, INTERPRETER_SOCKET, PATIENCE, RUNTIME, SHIM, SOCKET, UNITS, Shim, UnitTest, clean,
                   drop_in, journal, processes, run, show, systemctl, until)

CHECKOUT = pathlib.Path("/run/tests/checkout")


def blocks(kind):
    """What stands in the documentation, word for word."""
    text = (CHECKOUT / "docs/systemd.md").read_text()
    return [block.split("```")[0] for block in text.split(f"```{kind}\n")[1:]]


class Documentation(unittest.TestCase):
    def setUp(self):
        clean()
        self.addCleanup(clean)

    def test_its_commands_lead_to_a_first_answer(self):
        subprocess.run(["bash", "-euc", blocks("sh")[0]], cwd=CHECKOUT, check=True, capture_output=True, timeout=PATIENCE)
        self.assertEqual(show(SOCKET, "ActiveState"), "active")
        self.assertEqual(show(DAEMON, "ActiveState"), "inactive")
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.stdout("print(6 * 7)"), "42\n")
        self.assertEqual(show(DAEMON, "ActiveState"), "active")
        self.assertEqual(systemctl("is-enabled", SOCKET, INTERPRETER_SOCKET).split(), ["enabled", "enabled"])


    def test_its_drop_in_serves_http_with_the_token_as_a_credential(self):
        token = HOME / "token"
        token.write_text("0123456789abcdef" * 2)
        token.chmod(0o600)
        self.addCleanup(token.unlink)
        for unit in (CHECKOUT / "packaging/systemd").glob("*.s*"):
            shutil.copy(unit, UNITS)
        drop_in(DAEMON, blocks("ini")[0])
        systemctl("start", DAEMON)
        request = urllib.request.Request("http://127.0.0.1:8080/healthz")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=PATIENCE)
        self.assertEqual(refused.exception.code, 401)
        refused.exception.close()
        request.add_header("Authorization", f"Bearer {token.read_text()}")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            self.assertEqual(answer.status, 200)


class Start(UnitTest):
    def test_connecting_starts_the_daemon_and_a_call_the_interpreter(self):
        self.assertEqual(show(DAEMON, "ActiveState"), "inactive")
        with Shim() as shim:
            self.assertEqual(shim.initialize()["serverInfo"]["name"], "python-interpreter")
            self.assertEqual(shim.stdout("print('here')"), "here\n")
            self.assertEqual(show(INTERPRETER, "ActiveState"), "active")
            self.assertEqual({show(unit, "NRestarts") for unit in (DAEMON, INTERPRETER)}, {"0"})
            # Nobody has started another one beside it.
            self.assertEqual(sum(" serve" in line for _, line in processes()), 1)
            until("the status tells of the client", lambda: "clients: 1" in show(DAEMON, "StatusText"))
            shim.send_call("import time; time.sleep(30)")
            until("the status tells of the call", lambda: "running: 1, waiting: 0, interpreter: embedded" in show(DAEMON, "StatusText"))
        until("the status tells that it is over", lambda: "clients: 0, running: 0" in show(DAEMON, "StatusText"))

    def test_ready_is_waited_for(self):
        systemctl("start", DAEMON, INTERPRETER)
        for unit in (DAEMON, INTERPRETER):
            self.assertEqual((show(unit, "ActiveState"), show(unit, "SubState")), ("active", "running"))
            systemctl("stop", unit)
            drop_in(unit, "[Service]", "ExecStart=", "ExecStart=sleep 60", "TimeoutStartSec=200ms")
            systemctl("start", unit, check=False)
            self.assertEqual(show(unit, "Result"), "timeout", "nobody has said that it is ready")

    def test_the_daemon_brings_the_interpreter_s_socket(self):
        systemctl("stop", *ALL)
        systemctl("start", DAEMON)
        self.assertEqual([show(unit, "ActiveState") for unit in ALL], ["active", "active", "active", "inactive"])

    def test_a_socket_that_is_installed_and_does_not_listen_is_started_by_whoever_needs_it(self):
        systemctl("stop", *ALL)
        self.assertFalse((RUNTIME / "python-interpreter-mcp/mcp.sock").exists())
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.stdout("print(1)"), "1\n")
        self.assertEqual([show(unit, "ActiveState") for unit in ALL], ["active"] * 4)
        self.assertEqual([line for _, line in processes() if "--background" in line], [])

        systemctl("stop", *ALL)
        environment = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"]}
        said = run(BIN / "python-interpreter-mcpd", "exec", "print(2)", env=environment).stdout
        self.assertEqual((said, show(DAEMON, "ActiveState")), ("2\n", "active"))

    def test_without_the_units_the_shim_starts_the_daemon_itself(self):
        systemctl("stop", *ALL)
        shutil.rmtree(UNITS)
        UNITS.mkdir()
        systemctl("daemon-reload")
        with Shim() as shim:
            shim.initialize()
        daemons = [process for process, line in processes() if "serve --background" in line]
        self.assertEqual(len(daemons), 1)

        def ended():
            """The daemon may just be starting the interpreter."""
            left = processes()
            for process, _ in left:
                try:
                    os.kill(process, signal.SIGTERM)
                except ProcessLookupError:
                    pass
            return not left

        until("all have ended", ended)

    def test_a_socket_that_cannot_be_started_is_said_and_nobody_started_beside_it(self):
        systemctl("stop", *ALL)
        drop_in(SOCKET, "[Socket]", "ExecStartPre=false")
        shim = subprocess.run([SHIM], input=b"", capture_output=True, timeout=PATIENCE)
        self.assertEqual(shim.returncode, 1)
        self.assertIn(b"systemctl --user status python-interpreter-mcpd.socket", shim.stderr)
        self.assertEqual(processes(), [])

    def test_the_interpreter_leaves_when_it_is_idle_and_comes_back(self):
        drop_in(INTERPRETER, "[Service]", "Environment=PYTHON_INTERPRETER_MCP_IDLE_EXIT=0")
        # The daemon keeps its connection warm; a new one has none.
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.stdout("print(1)"), "1\n")
            systemctl("restart", DAEMON)
            until("the interpreter leaves", lambda: show(INTERPRETER, "ActiveState") == "inactive")
            self.assertEqual(show(INTERPRETER, "Result"), "success")
            self.assertEqual(shim.stdout("print(2)"), "2\n")


class Failure(UnitTest):
    def test_kill_9_costs_the_call_that_runs_and_no_client(self):
        with Shim() as shim:
            shim.initialize()
            first = show(DAEMON, "MainPID")
            lost = shim.send_call("import time; time.sleep(60)")
            until("it runs", lambda: "running: 1" in show(DAEMON, "StatusText"))
            os.kill(int(first), signal.SIGKILL)
            self.assertIn("may or may not have run", shim.answer(lost)["error"]["message"])
            self.assertEqual(shim.stdout("print('again')"), "again\n")
            self.assertNotEqual(show(DAEMON, "MainPID"), first)
        self.assertEqual(show(SOCKET, "ActiveState"), "active")

    def test_a_loop_that_is_stuck_is_ended_by_the_watchdog_and_one_that_is_busy_is_not(self):
        drop_in(DAEMON, "[Service]", "WatchdogSec=2")
        with Shim() as shim:
            shim.initialize()
            first = show(DAEMON, "MainPID")
            # For longer than the watchdog waits, as busy as one client can make it.
            beats = lambda: int(show(DAEMON, "WatchdogTimestampMonotonic"))
            begun = beats()
            until("a busy daemon is heard of", lambda: [shim.call("pass") for _ in range(50)] and beats() > begun + 3_000_000)
            self.assertEqual(show(DAEMON, "MainPID"), first)
            os.kill(int(first), signal.SIGSTOP)
            # Its end as well: until then its connections are open, and what is sent over them is lost.
            until("the watchdog bites", lambda: (show(DAEMON, "Result"), show(DAEMON, "ActiveState")) == ("watchdog", "failed"))
            self.assertEqual(shim.stdout("print('alive')"), "alive\n")

    def expect_told(self, why, *lines):
        """With these lines the daemon never serves: who waits is told why, within seconds, and once; and once it is mended is served."""
        drop_in(DAEMON, "[Service]", *lines)
        with Shim() as shim:
            begun = time.monotonic()
            waiting = [shim.send("ping"), shim.send_call("print(1)")]
            for identity in waiting:
                message = shim.answer(identity)["error"]["message"]
                self.assertIn(why, message)
                self.assertIn("journalctl --user -u python-interpreter-mcpd", message)
                self.assertIn("The code was not run", message)
            print(f"told after {time.monotonic() - begun:.1f} s: {lines[-1]}")
            # 5 s on an idle machine.
            self.assertLess(time.monotonic() - begun, 10)
            until("nobody is waited for any more", lambda: show(DAEMON, "ActiveState") in ("failed", "activating"))
            self.assertEqual((show(DAEMON, "NRestarts"), show(SOCKET, "ActiveState")), ("0", "active"))
            (UNITS / f"{DAEMON}.d/test.conf").unlink()
            systemctl("daemon-reload")
            # Connections that clients gave up still wait in the socket and start the unit. That cancels a stop, but is part of a restart.
            systemctl("restart", DAEMON)
            time.sleep(1.1)  # For so long requests are refused with what was found out.
            self.assertTrue(shim.initialize()["serverInfo"])
            self.assertEqual(shim.stdout("print(6 * 7)"), "42\n")

    def test_a_daemon_that_crashes_at_its_start_is_told_of_and_started_for_nobody(self):
        self.expect_told("does not answer", "ExecStart=", "ExecStart=sh -c 'kill -SEGV $$$$'")

    def test_a_program_that_is_not_there_is_told_of(self):
        self.expect_told("does not answer", "ExecStart=", "ExecStart=/nonexistent/python-interpreter-mcpd serve")

    def test_a_daemon_that_never_serves_is_told_of(self):
        self.expect_told("has not started within 4 s", "ExecStart=", "ExecStart=sleep 60")

    def test_a_daemon_that_cannot_serve_says_so_to_whoever_connects_and_is_not_started_for_nothing(self):
        drop_in(DAEMON, "[Service]", "Environment=PYTHON_INTERPRETER_MCP_HTTP=127.0.0.1:8080")
        with Shim() as shim:
            self.assertIn("needs a token", shim.initialize()["message"])
        until("it has ended", lambda: show(DAEMON, "ActiveState") == "failed")
        self.assertEqual((show(DAEMON, "NRestarts"), show(SOCKET, "ActiveState")), ("0", "active"))
        drop_in(DAEMON, "[Service]", "Environment=PYTHON_INTERPRETER_MCP_TIMEOUT=never")
        with Shim() as shim:
            self.assertIn("'--timeout <SECONDS>'", shim.initialize()["message"])
        drop_in(DAEMON, "")
        with Shim() as shim:
            shim.initialize()

    def test_a_socket_that_was_triggered_too_often_is_started_again_for_the_next_client(self):
        drop_in(SOCKET, "[Socket]", "TriggerLimitBurst=10")
        systemctl("restart", SOCKET)
        drop_in(DAEMON, "[Service]", "ExecStart=", "ExecStart=/nonexistent/python-interpreter-mcpd serve")
        with Shim() as shim:
            self.assertIn("journalctl --user -u python-interpreter-mcpd", shim.initialize()["message"])
        until("nobody tries any more", lambda: show(DAEMON, "ActiveState") == "failed")
        drop_in(DAEMON, "")
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.stdout("print(1)"), "1\n")

    def test_where_namespaces_are_restricted_the_drop_in_does_without_them(self):
        folder = UNITS / f"{DAEMON}.d"
        folder.mkdir()
        shutil.copy(CHECKOUT / "packaging/systemd/restricted-namespaces.conf", folder)
        systemctl("daemon-reload")
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.stdout("print(1)"), "1\n")
            daemon = show(DAEMON, "MainPID")
            self.assertEqual(os.readlink(f"/proc/{daemon}/ns/user"), os.readlink("/proc/self/ns/user"))


class Look(UnitTest):
    def test_looking_starts_nothing_and_sees_what_runs(self):
        command = BIN / "python-interpreter-mcpd"
        status = run(command, "status", check=False)
        self.assertEqual((status.returncode, status.stdout), (3, "No daemon runs; the next client starts it.\n"))
        self.assertEqual(run(command, "stop").stderr, "nothing runs\n")
        doctor = run(command, "doctor")
        self.assertIn(f"{SOCKET} is active", doctor.stdout)
        self.assertEqual(processes(), [])
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.stdout("print(1)"), "1\n")
            status = run(command, "status").stdout
            self.assertIn("started by systemd", status)
            self.assertIn("systemd-test", status)
            self.assertIn("execution ended", run(command, "logs").stdout)


class Stop(UnitTest):
    def test_a_reload_reads_the_settings_again_and_keeps_processes_and_clients(self):
        settings, data = HOME / ".config/python-interpreter-mcp/config.toml", HOME / "shown"
        for folder in (settings.parent, data):
            folder.mkdir()
            self.addCleanup(shutil.rmtree, folder)
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.stdout("import os; print(os.path.exists('/data'))"), "False\n")
            daemon, interpreter = show(DAEMON, "MainPID"), show(INTERPRETER, "MainPID")
            slow = shim.send_call("import time; time.sleep(1); print('done')")
            until("it runs", lambda: "running: 1" in show(DAEMON, "StatusText"))
            settings.write_text('mounts = [{ source = "~/shown", target = "/data" }]\n')
            systemctl("reload", DAEMON)
            said = "the settings were read again"
            until("it has reloaded", lambda: any(entry["MESSAGE"] == said for entry in journal(f"_PID={daemon}")))
            self.assertEqual(shim.answer(slow)["result"]["structuredContent"]["stdout"], "done\n")
            until("programs see it", lambda: shim.stdout("import os; print(os.path.exists('/data'))") == "True\n")
            self.assertEqual((show(DAEMON, "ActiveState"), show(DAEMON, "MainPID")), ("active", daemon))
            self.assertEqual(show(INTERPRETER, "MainPID"), interpreter)

    def test_a_reload_of_a_file_with_a_mistake_fails_for_whoever_asks(self):
        settings = HOME / ".config/python-interpreter-mcp/config.toml"
        settings.parent.mkdir()
        self.addCleanup(shutil.rmtree, settings.parent)
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.stdout("print(0)"), "0\n")
            settings.write_text("timeuot = 3\n")
            said = subprocess.run(["systemctl", "--user", "reload", DAEMON], capture_output=True, text=True, timeout=PATIENCE)
            self.assertNotEqual(said.returncode, 0)
            self.assertEqual(shim.stdout("print(1)"), "1\n")
            self.assertIn('did you mean "timeout"', run(BIN / "python-interpreter-mcpd", "reload", check=False).stderr)

    def test_a_call_that_runs_is_answered_when_the_daemon_is_stopped(self):
        with Shim() as shim:
            shim.initialize()
            slow = shim.send_call("import time; time.sleep(1); print('to the end')")
            until("it runs", lambda: "running: 1" in show(DAEMON, "StatusText"))
            stopping = threading.Thread(target=systemctl, args=("stop", DAEMON))
            stopping.start()
            until("it stops", lambda: show(DAEMON, "ActiveState") == "deactivating")
            self.assertEqual(shim.answer(slow)["result"]["structuredContent"]["stdout"], "to the end\n")
            stopping.join()
            self.assertEqual(show(DAEMON, "Result"), "success")
            self.assertEqual(shim.stdout("print('and the next one')"), "and the next one\n")

    def test_stopping_all_leaves_nothing(self):
        with Shim() as shim:
            shim.initialize()
            shim.call("pass")
        systemctl("stop", *ALL)
        self.assertEqual(processes(), [])
        left = sorted(path.name for path in (RUNTIME / "python-interpreter-mcp").iterdir())
        self.assertEqual([name for name in left if not name.endswith(".lock")], [])


class Journal(UnitTest):
    def test_an_execution_is_found_by_its_fields_and_its_code_is_nowhere(self):
        secret = "a_name_that_stands_nowhere_else"
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.stdout(f"{secret} = 3; print({secret}); raise SystemExit(5)"), "3\n")
        entry = until("it is logged", lambda: journal("EXIT_CODE=5"))[-1]
        self.assertEqual(entry["MESSAGE"], "execution ended")
        self.assertEqual((entry["CLIENT_NAME"], entry["CLIENT_VERSION"]), ("systemd-test", "7.5"))
        self.assertEqual((entry["OUTCOME"], entry["INTERPRETER"], entry["STDOUT_BYTES"]), ("Finished", "embedded", "2"))
        self.assertTrue(entry["SESSION"].isdigit() and entry["DURATION_MILLISECONDS"].isdigit(), entry)
        again = journal(f"EXECUTION_ID={entry['EXECUTION_ID']}")
        self.assertEqual([found["EXIT_CODE"] for found in again], ["5"])
        everything = run("journalctl", "--user", "--output=verbose", "--all").stdout
        self.assertIn("EXECUTION_ID", everything)
        self.assertNotIn(secret, everything)
