"""In a machine with a real user manager: what the Debian package does for a user once it is installed, and what is left when it is
gone. Prints a line for each thing that holds; the first that does not is the end.

debian.py installed | upgraded | removed, and as root: lingers
"""

import json
import os
import pathlib
import pwd
import subprocess
import sys
import time

PACKAGE = "python-interpreter-mcp"
UNITS = ["python-interpreter-mcpd.socket", "python-interpreter-mcpd.service", "python-interpreter.socket", "python-interpreter.service"]
RUNTIME = pathlib.Path(f"/run/user/{os.getuid()}/{PACKAGE}")
DEADLINE = 240
# From one call of this script to the next.
BEFORE = pathlib.Path("/tmp/daemon-before")


def holds(what, truth, detail=None):
    if not truth:
        raise SystemExit(f"FAILED: {what}: {detail}")
    print(f"ok: {what}", flush=True)


def said(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    return done.returncode, done.stdout + done.stderr


def answer(code):
    """A client's first call, with no more of an environment than clients leave."""
    frames = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
            "name": "execute_python_code", "arguments": {"source_code": code}}},
    ]
    environment = {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin"}
    shim = subprocess.Popen(["python-interpreter-mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        shim.stdin.write("".join(json.dumps(frame) + "\n" for frame in frames))
        shim.stdin.flush()
        for line in shim.stdout:
            message = json.loads(line)
            if message.get("id") == 2:
                return message["result"]["structuredContent"]
    finally:
        shim.stdin.close()
        shim.wait(DEADLINE)
    raise SystemExit("FAILED: the shim left without an answer")


def processes():
    commands = [path.read_bytes() for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [command for command in commands if b"python-interpreter-mcpd\0" in command]


def main_process(unit):
    return said("systemctl", "--user", "show", "--value", "-p", "MainPID", unit)[1].strip()


def installed():
    listed = said("dpkg", "-L", PACKAGE)[1].split()
    for file in ["usr/share/bash-completion/completions/python-interpreter-mcpd", "usr/lib/systemd/user/python-interpreter.socket"]:
        holds(f"{file} is there", f"/{file}" in listed and os.path.isfile(f"/{file}"), listed)
    code, output = said("systemd-analyze", "--user", "verify", *[f"/usr/lib/systemd/user/{unit}" for unit in UNITS])
    holds("systemd has nothing to say of the units", code == 0 and output == "", output)
    holds("nothing of it runs for whoever did not ask", not processes() and not (RUNTIME / "mcp.sock").exists(), processes())

    code, output = said("systemctl", "--user", "enable", "--now", "python-interpreter-mcpd.socket")
    holds("a user enables the socket", code == 0, output)
    result = answer("import os; print(6 * 7, os.path.exists(os.path.expanduser('~tester')))")
    holds("the first call through the shim is answered", result["stdout"] == "42 False\n", result)
    for unit in UNITS:
        code, output = said("systemctl", "--user", "is-active", unit)
        holds(f"{unit} is active", code == 0, output)
    code, output = said("systemctl", "--user", "show", "--value", "-p", "ExecMainStartTimestampMonotonic", UNITS[1])
    holds("it was systemd who started it", code == 0 and int(output) > 0, output)
    holds("there is one daemon", len([one for one in processes() if b"\0serve\0" in one]) == 1, processes())
    has_profile = os.path.exists("/etc/apparmor.d/python-interpreter-mcpd")
    holds("AppArmor has the profile where it knows its language", has_profile == os.path.exists("/etc/apparmor.d/abi/4.0"))
    if has_profile:
        profile = pathlib.Path(f"/proc/{main_process('python-interpreter.service')}/attr/current").read_text()
        holds("the interpreter's unit has it", profile.startswith("python-interpreter-mcpd "), profile)
    BEFORE.write_text(main_process("python-interpreter-mcpd.service"))


def lingers():
    """As at boot, before anybody logs in; the twin is that without linger all goes with the user's last session."""
    user = pwd.getpwnam("tester")
    socket = pathlib.Path(f"/run/user/{user.pw_uid}/{PACKAGE}/mcp.sock")
    manager = f"user@{user.pw_uid}.service"
    said("loginctl", "disable-linger", user.pw_name)
    said("loginctl", "terminate-user", user.pw_name)
    until("without linger nothing is there when nobody is logged in", lambda: not is_active(manager) and not socket.exists())
    code, output = said("loginctl", "enable-linger", user.pw_name)
    holds("linger can be enabled", code == 0, output)
    until("then the socket is there though nobody is logged in", lambda: is_active(manager) and socket.exists())
    as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "env", "-i", f"HOME={user.pw_dir}", "PATH=/usr/bin:/bin"]
    code, output = said(*as_user, sys.executable, __file__, "answered")
    holds("a call without a session is answered", code == 0, output)


def answered():
    result = answer("print(6 * 7)")
    holds("the shim is answered", result["stdout"] == "42\n", result)


def is_active(unit):
    return said("systemctl", "is-active", unit)[1].strip() == "active"


def until(what, is_so):
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: {what}")
        time.sleep(0.2)
    print(f"ok: {what}", flush=True)


def upgraded():
    before = BEFORE.read_text()
    holds("an upgrade replaces the daemon that runs", before != main_process("python-interpreter-mcpd.service"), before)
    result = answer("print(6 * 7)")
    holds("the new one answers", result["stdout"] == "42\n", result)


def removed():
    deadline = time.monotonic() + DEADLINE
    while processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    holds("no process is left", not processes(), processes())
    holds("no socket is left", not list(RUNTIME.glob("*.sock")), RUNTIME)
    left = [
        path
        for folder in ["/usr/bin", "/usr/lib/systemd", "/usr/share", "/etc", "/var/lib/dpkg/info", "/var/cache"]
        for path in pathlib.Path(folder).rglob("*python-interpreter*")
    ]
    holds("no file is left", not left, left)
    code, output = said("systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", "python-interpreter*.s*")
    holds("no unit is left that runs", "running" not in output and "listening" not in output, output)


{"installed": installed, "lingers": lingers, "answered": answered, "upgraded": upgraded, "removed": removed}[sys.argv[1]]()
