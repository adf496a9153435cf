"""In a machine with a real user manager: memory and processes are limited by control groups where they are delegated, and by what
watches them where they are not. Prints a line for each thing that holds; the first that does not is the end.

limits.py BINARY
"""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

BINARY = sys.argv[1]
RUNTIME = pathlib.Path("/run/user/1000")
DEADLINE = 240
BOMB = "print('before', flush=True)\nx = []\nwhile True: x.append(bytearray(8 << 20))"
SPREAD = """import os, time
print('before', flush=True)
for _ in range(24):
    if os.fork() == 0:
        x = bytearray(16 << 20)
        time.sleep(99)
time.sleep(99)"""
SHARED = "with open('/dev/shm/x', 'wb') as file:\n    while True: file.write(bytes(1 << 20))"
FORKS = """import os, time
count = 0
try:
    while True:
        if os.fork() == 0: time.sleep(99)
        count += 1
except OSError as error: print(count < 64, error.errno)"""


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(RUNTIME / "python-interpreter-mcp/interpreter.sock"))


def request(method, path, body=None):
    connection = Connection("localhost")
    connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def execute(code):
    status, result = request("POST", "/v1/execute", {"source_code": code, "timeout_seconds": 200})
    assert status == 200, result
    return result


def holds(what, truth, detail=None):
    if not truth:
        raise SystemExit(f"FAILED: {what}: {detail}")
    print(f"ok: {what}", flush=True)


def wait_until(what, happened):
    deadline = time.monotonic() + DEADLINE
    while not happened():
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: in vain: {what}")
        time.sleep(0.2)


def serve(delegated):
    """Starts an interpreter: as a unit of the user manager, or in this session, whose control group belongs to root."""
    settings = {"MEMORY": "256M", "PROCESSES": "60", "WORKSPACE": "200M"}
    settings = {f"PYTHON_INTERPRETER_MCP_{name}": value for name, value in settings.items()}
    process = None
    if delegated:
        command = ["systemd-run", "--user", "--quiet", "--unit=delegated", "-p", "Delegate=yes"]
        command += [f"--setenv={name}={value}" for name, value in settings.items()]
        subprocess.run([*command, BINARY, "interpreter"], check=True)
    else:
        process = subprocess.Popen([BINARY, "interpreter"], env={**os.environ, **settings})

    def answers():
        try:
            return request("GET", "/healthz")[0] == 200
        except OSError:
            return False

    wait_until("the interpreter answers", answers)
    return process, request("GET", "/healthz")[1]


def bombs(kind):
    for name, code in {"one process": BOMB, "many processes": SPREAD, "files in memory": SHARED}.items():
        sibling = {}
        thread = threading.Thread(target=lambda: sibling.update(execute("import time; time.sleep(3); print(6 * 7)")))
        thread.start()
        result = execute(code)
        thread.join()
        if name == "files in memory":
            # The workspace is the smaller bound.
            holds(f"{kind}: {name} meet ENOSPC", "No space left on device" in result["stderr"], result)
        else:
            limit = "its limit of 256 MiB for all its processes together"
            holds(f"{kind}: a bomb of {name} is ended and named", result["exit_code"] == 137 and limit in result["stderr"], result)
            holds(f"{kind}: what it had printed is kept", result["stdout"] == "before\n", result)
        holds(f"{kind}: its sibling is unharmed", sibling.get("stdout") == "42\n", sibling)
    result = execute(FORKS)
    holds(f"{kind}: processes are limited", result["stdout"] == "True 11\n", result)
    holds(f"{kind}: the next call works", execute("print(1)")["stdout"] == "1\n")


def slot_groups(unit):
    found = subprocess.run(
        ["systemctl", "--user", "show", "--value", "-p", "ControlGroup", unit], check=True, capture_output=True, text=True
    )
    directory = pathlib.Path("/sys/fs/cgroup" + found.stdout.strip())
    return list(directory.glob("slot-*"))


_, health = serve(delegated=True)
holds("a delegated unit keeps limits by control groups", health["memory_limit"] == "control group", health)
holds("all protections hold", all(health["protections"].values()), health)
bombs("control group")


def only_those_that_wait():
    slots = request("GET", "/healthz")[1]["slots"]
    return slots["in_use"] == slots["building"] == 0 and len(slot_groups("delegated")) == slots["waiting"]


wait_until("no group is left of any program", only_those_that_wait)
holds("no group is left of any program", True)
subprocess.run(["systemctl", "--user", "stop", "delegated"], check=True)

process, health = serve(delegated=False)
holds("without delegation memory is watched", health["memory_limit"] == "watched", health)
bombs("watched")
process.terminate()
process.wait(DEADLINE)
