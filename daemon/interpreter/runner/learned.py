"""Imports the modules that programs have imported again and again, each first in a child that is thrown away."""

import _signal
import builtins
import contextlib
import importlib.machinery
import json
import os
import sys
import time

from remains import STARVED, fork, imported, wait_for

# Longest time for the trial of a module, in seconds.
TRIAL_DEADLINE = 8
# No trial begins after so many seconds.
TRIALS_DEADLINE = 30

# Our own directories on the module path are below it.
OWN_PATH = "/python-interpreter"

# The native part's socket to the spawner.
SOCKET = 3
# Longest text of an exception, in characters.
LONGEST_REASON = 200
# Most bytes of the list of imported modules.
LONGEST_LIST = 30_000

# Never learned: other libraries look whether these are imported, and behave in another way then.
NEVER = {"pytest", "_pytest", "IPython", "ipykernel", "gevent", "eventlet", "test", "idlelib"}


def load(names, room):
    """Imports the named modules if this process then has at most `room` KiB more. Does not keep what leaves something that a child lacks. Tells the
    interpreter what became of each. Returns the modules with which this process must start anew; None if it need not."""
    # Only the configured Python's own modules are found.
    own = [path for path in sys.path if path.startswith(OWN_PATH)]
    sys.path[:] = [path for path in sys.path if path and path not in own]
    rest, until = list(names), time.monotonic() + TRIALS_DEADLINE
    for name in names:
        verdict, size, left = "Postponed", 0, None
        if name in sys.modules:
            verdict = "Loaded"
        elif time.monotonic() < until:
            verdict, size = tried(name, room)
        if verdict == "Loaded":
            error, left = imported(name)
            room -= size
            if left or error is not None:
                verdict = {"LeftOut": f"its import leaves {left}" if left else described(error)}
        tell({"Tried": {"name": name, "verdict": verdict}})
        if verdict != "Loaded":
            rest.remove(name)
        if left:
            return rest
    sys.path[:0] = own
    return None


def tried(name, room):
    """Imports a module in a child. Returns the verdict, and by how many KiB the import enlarges a process."""
    reading, writing = os.pipe()
    child = fork()
    if not child:
        try:
            os.close(reading)
            try:
                result = trial(name, room)
            except BaseException as error:
                result = {"LeftOut": described(error)}, 0
            os.write(writing, json.dumps(result).encode())
        finally:
            os._exit(0)
    os.close(writing)
    status = wait_for(child, TRIAL_DEADLINE)
    with open(reading, "rb") as file:
        # The child's children may hold the other end as well.
        os.set_blocking(reading, False)
        result = file.read()
    others = end_others()
    if status is STARVED:
        return "Postponed", 0
    if status is None:
        return {"LeftOut": f"its import takes more than {TRIAL_DEADLINE} seconds"}, 0
    if not result:
        return {"LeftOut": f"its import ends Python (wait status {status})"}, 0
    verdict, size = json.loads(result)
    return ({"LeftOut": "its import leaves a process"} if others and verdict == "Loaded" else verdict), size


def trial(name, room):
    """What `tried` returns, in the child."""
    # Below programs. With SCHED_IDLE a busy machine would not get to it at all.
    os.nice(10)
    if not is_installed(name.partition(".")[0]):
        return "Absent", 0
    output = os.memfd_create("output")
    os.dup2(output, 1)
    os.dup2(output, 2)
    before, found, loaded = memory(), surroundings(), set(sys.modules)
    error, left = imported(name)
    never = NEVER.intersection(name.partition(".")[0] for name in sys.modules.keys() - loaded)
    size = max(memory() - before, 0)
    changed = [what for what, value in surroundings().items() if value != found[what]]
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return "Absent", 0
    reason = None
    if error is not None:
        reason = described(error)
    elif never:
        reason = f"other libraries behave in another way when {min(never)} is imported"
    elif left:
        reason = f"its import leaves {left}"
    elif changed:
        reason = f"its import changes {changed[0]}"
    elif prints(output):
        reason = "its import prints"
    elif size > room:
        reason = f"its import takes {size >> 10} MiB of memory, and {room >> 10} MiB are left for modules"
    return ({"LeftOut": reason} if reason else "Loaded"), size


def prints(output):
    for stream in sys.stdout, sys.stderr:
        stream.flush()
    return os.fstat(output).st_size > 0


def described(error):
    return f"{type(error).__name__}: {error}"[:LONGEST_REASON].encode("ascii", "backslashreplace").decode()


def surroundings():
    """What programs find that do not import a module."""
    return {
        "the working directory": os.getcwd(),
        "signal handlers": [_signal.getsignal(number) for number in range(1, _signal.NSIG)],
        "how exceptions are shown": sys.excepthook,
        "how values are shown": sys.displayhook,
        "the standard streams": [sys.stdin, sys.stdout, sys.stderr],
        "builtins": {name: id(value) for name, value in vars(builtins).items() if name != "_"},
        "the module path": [list(sys.path), list(sys.path_hooks)],
        "the recursion limit": sys.getrecursionlimit(),
        "the umask": umask(),
    }


def umask():
    value = os.umask(0)
    os.umask(value)
    return value


def is_installed(package):
    """Whether it is a module of this Python's own, and not one that a finder makes up."""
    return package in sys.builtin_module_names or importlib.machinery.PathFinder.find_spec(package, sys.path) is not None


def memory():
    """The memory of this process that has no file, in KiB."""
    with open("/proc/self/status") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("RssAnon:")), 0)


def end_others():
    """Kills every process but this one and the first. There is no slot yet, so it belongs to a trial. Returns whether there was one."""
    found = False
    for process in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        with contextlib.suppress(OSError):
            if process not in (1, os.getpid()):
                with open(f"/proc/{process}/stat") as file:
                    if file.read().rpartition(")")[2].split()[0] not in "ZX":
                        os.kill(process, 9)
                        found = True
    return found


def tell_imported():
    """Tells the interpreter what is imported in any case."""
    names, length = [], 0
    for name in sorted(sys.modules, key=len):
        length += len(name) + 4
        if name.isascii() and length < LONGEST_LIST:
            names.append(name)
    tell({"Imported": names})


def tell(message):
    """Sends a message to the spawner."""
    os.write(SOCKET, json.dumps(message).encode())
