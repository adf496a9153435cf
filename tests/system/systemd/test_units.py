"""The shipped units: that systemd understands every line, how exposed it thinks they are, and that each directive acts, which is
looked at from inside. What an ordinary user may not do anyway, such as setting the clock, is left out: nothing would show who forbade it."""

import json
import os
import pathlib
import subprocess
import sys
import unittest
import unittest.mock

from world import (DAEMON, HOME, INTERPRETER, PACKAGING, PATIENCE, RUNTIME, UNITS, Shim, UnitTest, drop_in, run, show, systemctl)

STATE = HOME / ".local/state/python-interpreter-mcp"
PROBE = pathlib.Path(__file__).with_name("probe.py")


class Files(UnitTest):
    def test_systemd_has_nothing_to_say_about_them(self):
        for unit in sorted(UNITS.glob("*.s*")):
            with self.subTest(unit.name):
                self.assertEqual(run("systemd-analyze", "--user", "verify", unit).stderr, "")
        broken = UNITS / "python-interpreter-mcpd.service"
        broken.write_text(broken.read_text() + "NoSuchDirective=yes\n")
        self.assertIn("NoSuchDirective", run("systemd-analyze", "--user", "verify", broken).stderr)

    def test_their_exposure_is_what_the_readme_says(self):
        for unit, most in ((DAEMON, "15"), (INTERPRETER, "76")):
            with self.subTest(unit):
                run("systemd-analyze", "--user", "security", "--offline=yes", f"--threshold={most}", UNITS / unit)

    def test_the_sockets_are_for_their_user_alone(self):
        folder = RUNTIME / "python-interpreter-mcp"
        self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
        for socket in ("mcp.sock", "interpreter.sock"):
            self.assertEqual((folder / socket).stat().st_mode & 0o777, 0o600)


class Inside(UnitTest):
    """`probe.py` in the place of the program; all else is the shipped unit."""

    def probe(self, unit):
        drop_in(unit, "[Service]", "Type=oneshot", "Restart=no", "ExecStart=", f"ExecStart={sys.executable} {PROBE} {STATE}")
        systemctl("start", unit)
        return json.loads((STATE / "probed.json").read_text())

    def probe_outside(self):
        STATE.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, PROBE, STATE], check=True, timeout=PATIENCE)
        return json.loads((STATE / "probed.json").read_text())

    def setUp(self):
        super().setUp()
        self.marker = pathlib.Path("/tmp/python-interpreter-probe")
        self.marker.touch()
        self.addCleanup(self.marker.unlink)

    def compare(self, unit, allowed):
        outside, inside = self.probe_outside(), self.probe(unit)
        for act, succeeded in outside.items():
            if succeeded is not True and not isinstance(succeeded, bool):
                continue
            with self.subTest(act):
                self.assertTrue(succeeded, "outside, where it must succeed to mean anything")
                self.assertEqual(inside[act], act in allowed)
        return outside, inside

    def test_the_daemon_can_do_what_it_needs_and_no_more(self):
        outside, inside = self.compare(DAEMON, {"write to its own state", "open an Internet socket"})
        for what in ("session keyring", "mounts"):
            self.assertNotEqual(outside[what], inside[what], what)

    def test_the_interpreter_can_do_what_sandboxes_are_made_of(self):
        allowed = {
            "write to its own state", "write beside the home", "write in the home", "see others' temporary files", "see devices",
            "make a control group", "set kernel variables", "tell users apart", "make a namespace",
            "open a netlink socket", "open an Internet socket", "make a set-user-id program", "map writable code", "call what is privileged",
            "change its priority", "have capabilities to gain",
        }
        outside, inside = self.compare(INTERPRETER, allowed)
        self.assertNotEqual(outside["session keyring"], inside["session keyring"])
        self.assertEqual((outside["a call that needs root"], inside["a call that needs root"]), ("Operation not permitted", "Function not implemented"))


class Running(UnitTest):
    maxDiff = None

    def test_the_running_daemon_is_held_as_its_unit_says(self):
        with Shim() as shim:
            shim.initialize()
            shim.call("pass")
            fields = {}
            for line in pathlib.Path(f"/proc/{show(DAEMON, 'MainPID')}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                fields[name] = value.strip()
            self.assertEqual((fields["NoNewPrivs"], fields["Seccomp"], int(fields["CapBnd"], 16)), ("1", "2", 0))

    def test_programs_notice_nothing_of_the_interpreter_s_unit(self):
        code = "\n".join((
            "import mmap, os, socket, subprocess",
            "os.nice(1), os.chown('script.py', os.getuid(), -1), os.chmod('script.py', 0o4755)",
            "mmap.mmap(-1, 4096, prot=7).close()",
            "print(subprocess.run(['true']).returncode, socket.if_nameindex())",
        ))
        with Shim() as shim:
            shim.initialize()
            self.assertEqual(shim.call(code)["result"]["structuredContent"], {
                "stdout": "0 [(1, 'lo')]\n", "stderr": "", "exit_code": 0, "files": {"/workspace/script.py": unittest.mock.ANY}})
