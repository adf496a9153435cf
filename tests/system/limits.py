"""In a machine with a real user manager: memory and processes are limited by control groups where they are delegated, and by what
watches them where they are not. Prints a line for each thing that holds; the first that does not is the end.

limits.py BINARY
limits.py BINARY container: by root, in a control group that looks as a container's does.
"""

import glob
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
IN_CONTAINER = sys.argv[2:] == ["container"]
RUNTIME = pathlib.Path("/run/limits-container" if IN_CONTAINER else "/run/user/1000")
DEADLINE = 240
BOMB = "print('before', flush=True)\nx = []\nwhile True: x.append(bytearray(8 << 20))"
SPREAD = """import os, time
print('before', flush=True)
for _ in range(24):
    if os.fork() == 0:
        x = bytearray(16 << 20)
        time.sleep(99)
time.sleep(99)"""
UNMAPPED = """import mmap
kept = []
print('before', flush=True)
while True:
    memory = mmap.mmap(-1, 4 << 20)
    for place in range(0, 4 << 20, 4096): memory[place] = 1
    # All but its first page is given back to the kernel, which keeps it.
    memory.resize(4096)
    kept.append(memory)"""
SOCKETS = """import os, socket, time
print('before', flush=True)
for _ in range(40):
    if os.fork() == 0:
        pairs = [socket.socketpair() for _ in range(100)]
        for ours, theirs in pairs:
            ours.setblocking(False)
            try:
                while True: ours.send(bytes(65536))
            except BlockingIOError: pass
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


def serve(*start, path=os.environ["PATH"], memory="256M", **more):
    """Starts an interpreter, by a program that starts others, or as a client does: here, in a session's scope."""
    settings = {"MEMORY": memory, "PROCESSES": "60", "WORKSPACE": "200M", "PYTHON": "/usr/bin/python3", **more}
    settings = {f"PYTHON_INTERPRETER_MCP_{name}": value for name, value in settings.items()}
    # As clients do, without most of the environment.
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/root"), **settings}
    if IN_CONTAINER:
        environment |= {"XDG_RUNTIME_DIR": str(RUNTIME), "XDG_STATE_HOME": str(RUNTIME / "state")}
    if start:
        prefix = "" if IN_CONTAINER else "--setenv="
        start = [*start, *(f"{prefix}{name}={value}" for name, value in environment.items())]
        environment = None
    process = subprocess.Popen([*start, BINARY, "interpreter"], env=environment)

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


def group_of(process):
    own = next(line[3:].strip() for line in open(f"/proc/{process}/cgroup") if line.startswith("0::"))
    return pathlib.Path("/sys/fs/cgroup" + own)


def interpreter():
    return int(subprocess.run(["pgrep", "-o", "-f", f"^{BINARY} interpreter"], check=True, capture_output=True, text=True).stdout)


def ended(process):
    process.terminate()
    process.wait(DEADLINE)


def only_those_that_wait(directory):
    slots = request("GET", "/healthz")[1]["slots"]
    return slots["in_use"] == slots["building"] == 0 and len(list(directory.glob("slots/slot-*"))) == slots["waiting"]


def is_kept(kind, health, what):
    holds(f"{kind}: limits are kept by control groups", health["memory_limit"] == "control group", health)
    holds(f"{kind}: it says whose", what in health["memory_limit_because"], health)
    holds(f"{kind}: all protections hold", all(health["protections"].values()), health)
    own = group_of(interpreter())
    holds(f"{kind}: the interpreter has a group of its own", own.name == "interpreter", own)
    given = (own.parent / "cgroup.subtree_control").read_text().split()
    holds(f"{kind}: memory, processes and processors are shared out", {"cpu", "memory", "pids"} <= set(given), given)
    bombs(kind)
    for name, code in {"shared memory that is unmapped": UNMAPPED, "sockets": SOCKETS}.items():
        result = execute(code)
        holds(f"{kind}: a bomb of {name} is ended", result["exit_code"] == 137 and "its limit of 256 MiB" in result["stderr"], result)
    wait_until("no group is left of any program", lambda: only_those_that_wait(own.parent))
    holds(f"{kind}: no group is left of any program", True)
    return own.parent


def growing(mib, name):
    return f"""import os, time
def wait(name):
    open(name, 'w').close()
    while os.path.exists(name): time.sleep(0.05)
wait('{name}')
kept = bytearray(b'x') * ({mib} << 20)
wait('{name}-grown')
print('went on')"""


def reached(name):
    found = []
    wait_until(name, lambda: found.extend(glob.glob(f"/proc/[0-9]*/cwd/{name}")) or found)
    return pathlib.Path(found[0])


def all_together():
    """Each less than its own limit, and more than the limit of all."""
    results = {}
    threads = {}
    for name, mib in (("small", 110), ("large", 190)):
        threads[name] = threading.Thread(target=lambda name=name, mib=mib: results.update({name: execute(growing(mib, name))}))
        threads[name].start()
        reached(name)
    reached("small").unlink()
    grown = reached("small-grown")
    reached("large").unlink()
    threads["large"].join()
    holds("all together: the largest is ended", results["large"]["exit_code"] == 137, results)
    holds("all together: it is told so", "TOTAL_MEMORY" in results["large"]["stderr"], results)
    grown.unlink()
    threads["small"].join()
    holds("all together: the others go on", results["small"]["stdout"] == "went on\n", results)


UNIT = ["systemd-run", "--user", "--quiet", "--wait", "--collect", "--unit=limits"]


def stop(process):
    subprocess.run(["systemctl", "--user", "stop", "limits"], check=True)
    process.wait(DEADLINE)


if IN_CONTAINER:
    RUNTIME.mkdir(mode=0o700)
    group = pathlib.Path("/sys/fs/cgroup/container")
    group.mkdir()
    inside = "echo 0 >/sys/fs/cgroup/container/cgroup.procs; exec unshare --cgroup --mount sh -c 'umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec \"$@\"' -"
    process, health = serve("sh", "-c", f'{inside} "$@"', "-", "env")
    is_kept("a container", health, "the container's group")
    ended(process)
    sys.exit()

process, health = serve(*UNIT, "-p", "Delegate=yes")
directory = is_kept("a delegated unit", health, "the unit limits.service")
# Whoever gave the controllers takes them back: the group's own are switched off first, as the kernel demands.
(directory / "slots/cgroup.subtree_control").write_text("-cpu -memory -pids")
(directory / "cgroup.subtree_control").write_text("-cpu -memory -pids")
(directory.parent / "cgroup.subtree_control").write_text("-cpu -memory -pids")
# Those that wait were made before.
results = [execute("print(1)")["stdout"] for _ in range(8)]
holds("without its controllers, calls go on", results == ["1\n"] * 8, results)
health = request("GET", "/healthz")[1]
holds("without its controllers, memory is watched", health["memory_limit"] == "watched" and "lost its controllers" in health["memory_limit_because"], health)
result = execute(BOMB)
holds("without its controllers, a bomb is ended", result["exit_code"] == 137, result)
(directory.parent / "cgroup.subtree_control").write_text("+cpu +memory +pids")
results = [execute("print(1)")["stdout"] for _ in range(8)]
health = request("GET", "/healthz")[1]
holds("with them again, they are used again", health["memory_limit"] == "control group", health)
stop(process)

process, health = serve()
directory = is_kept("started by a client", health, "a scope of its own")
holds("started by a client: it is in a scope", directory.name.startswith("python-interpreter-") and directory.suffix == ".scope", directory)
ended(process)
wait_until("the scope ends with its last process", lambda: not directory.exists())
process, _ = serve(memory="220M", TOTAL_MEMORY="290M")
all_together()
ended(process)
holds("started by a client: the scope ends with it", True)

# The manager would end the whole unit with the first program that runs out of memory.
process, health = serve(*UNIT)
holds("a unit that is not delegated is not taken", health["memory_limit"] == "watched" and "not delegated" in health["memory_limit_because"], health)
own = group_of(interpreter())
holds("a unit that is not delegated stays as it was", own.name == "limits.service" and not (own / "cgroup.subtree_control").read_text().split(), own)
bombs("a unit that is not delegated")
stop(process)

process, health = serve(path="/nonexistent")
holds("without systemd's programs memory is watched", health["memory_limit"] == "watched" and "busctl" in health["memory_limit_because"], health)
ended(process)
