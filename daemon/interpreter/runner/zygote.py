"""The Python side of the zygote: imports the preloaded modules, and has the functions that are simpler to write in Python.

The native module `zygote` calls them, in children only. Importing that module ends this script.
"""

# The names in a script's `__main__` at its start, in this version of Python.
AT_THE_BEGINNING = dict(globals())

import sys

# Modules that every Python imports at its start. All others are preloaded, and hidden until a program imports them.
AT_THE_START = set(sys.modules)

import _imp
import _signal
import builtins
import gc
import importlib.machinery
import itertools
import os
import time
import warnings
from _operator import is_
from _weakref import ref

# A copy, because modules may change it.
ENVIRONMENT = dict(os.environ)

WORKSPACE = "/workspace"

# More modules than this are not hidden: giving them back would take longer than most programs.
FEW = 150

# After stdin, stdout, stderr and the native part's socket.
FIRST_FREE_DESCRIPTOR = 4

# Names of threads that a child does not miss. jemalloc (in pyarrow) returns memory in one, and works without it.
FORK_SAFE_THREADS = {"jemalloc_bg_thd"}

# Modules that restart their threads after a fork, which they notice by the process id → the name of their number of threads.
RESTARTED_THREADS = {"numexpr": "nthreads"}

# Longest time for a fork, in seconds.
FORK_DEADLINE = 5

# How long a thread may take to end, in seconds. One that was joined is still seen for a moment, and longer on a busy machine.
THREAD_DEADLINE = 0.5

# Longest time for the trial of a module, in seconds.
TRIAL_DEADLINE = 8
# No trial begins after so many seconds.
TRIALS_DEADLINE = 30
STARVED = object()

# Our own directories on the module path are below it.
OWN_PATH = "/python-interpreter"

# The native part's socket to the spawner.
SOCKET = 3
# Longest text of an exception, in characters.
LONGEST_REASON = 500
# Most bytes of the list of imported modules.
LONGEST_LIST = 30_000

# The native part looks these names up.
from _io import BufferedWriter, TextIOWrapper

callbacks, collect, freeze, get_objects = gc.callbacks, gc.collect, gc.freeze, gc.get_objects


def prepare():
    """Gives the child a new `__main__`, and reseeds random number generators."""
    global main
    main = type(sys)("__main__")
    names = vars(main)
    names.clear()
    names.update(AT_THE_BEGINNING)
    names["__doc__"] = None
    sys.modules["__main__"] = main
    # Generators of modules, which plain Python would have seeded. `random` reseeds its own one after every fork.
    for generator in generators:
        generator.seed()
    if "numpy.random" in ahead:
        ahead["numpy.random"].seed()
    # As in a new Python: thread names count from one, and the main thread has this process's id.
    if "threading" in ahead:
        ahead["threading"]._counter = itertools.count(1).__next__
        ahead["threading"].main_thread()._set_native_id()
    gc.enable()


def begin(job):
    """Sets arguments, path and environment as for `python3 script.py`. Returns `__main__`."""
    global main
    script, *variables = (os.fsdecode(text) for text in job.split(b"\0")[:-1])
    for variable in variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    path = f"{WORKSPACE}/{script}"
    sys.argv[:] = [script]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[1:] = [script]
    sys.path[0] = WORKSPACE
    names = vars(main)
    names["__file__"] = path
    names["__loader__"] = type(names["__loader__"])("__main__", path)
    if not few and (own_names() or may_write_modules(path)):
        put_aside()
    module, main = main, None
    return module


def rehearse_imports():
    """Imports the modules that were put aside, as a program might, and puts them aside again. This changes many pages."""
    if aside:
        for name in preload:
            if name in aside:
                __import__(name)
        if Aside in sys.meta_path:
            sys.meta_path.remove(Aside)
        put_aside()


def may_write_modules(path):
    """Whether a program's source names a `.py` file. Only then can it write modules that shadow others."""
    try:
        with open(path, "rb") as file:
            return any(not after[:1].isalnum() for after in file.read().split(b".py")[1:])
    except FileNotFoundError:
        # A rehearsal, whose file is not in the workspace.
        return False


def own_names():
    """Modules of the workspace, without the program itself. They shadow others."""
    return {entry.partition(".")[0] for entry in os.listdir(WORKSPACE)} - {"script"}


def put_aside():
    """Removes preloaded modules from `sys.modules`. If there are many, only the packages."""
    for name in to_put_aside:
        if name in sys.modules:
            aside[name] = sys.modules.pop(name)
    sys.meta_path.insert(0, Aside)


class Aside:
    """A meta path finder for the modules that were put aside, except those that a file of the program shadows."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in aside:
            return None
        if few and replaced_by_program():
            aside.clear()
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not Aside]
            return None
        package, own = package_of(name), own_names()
        if package in own:
            for modules in aside, sys.modules:
                for other in [other for other in modules if package_of(other) == package]:
                    del modules[other]
            return None
        # The spec must have the module's own attributes, for programs that only look for it.
        spec = importlib.machinery.ModuleSpec(name, None)
        vars(spec).update(vars(aside[name].__spec__))
        spec.loader = Given(aside[name], own)
        return spec


def replaced_by_program():
    """Whether a program has put a module of its own, or None, which forbids an import, into `sys.modules` in advance. What was put aside
    has been imported without it."""
    return not aside.keys().isdisjoint(sys.modules) or any(map(is_, list(sys.modules.values()), itertools.repeat(None)))


class Given:
    """A loader that returns a module that was put aside, unchanged. Also restores the modules of every package that it imports, because
    they refer to each other."""

    def __init__(self, module, own):
        self.module, self.spec, self.own = module, module.__spec__, own

    def create_module(self, spec):
        package = package_of(spec.name)
        for name in together[package] if few else with_its_imports(package):
            module = aside.pop(name, None)
            # The import system itself adds the requested module.
            if module and name != spec.name and package_of(name) not in self.own:
                sys.modules.setdefault(name, module)
        if not aside:
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not Aside]
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec

    def __getattr__(self, name):
        return getattr(self.spec.loader, name)


def with_its_imports(package):
    """The modules that are put aside of a package and of those that it imports, in the order of their import."""
    packages = imports.get(package, set()) | {package}
    return [name for name in to_put_aside if package_of(name) in packages]


def package_of(name):
    return name.partition(".")[0]


def load(names):
    """Imports the named modules. Reports and leaves out those that cannot be imported, and those that a fork would break."""
    left_out = []
    for name in names:
        error, left = imported(name)
        if error is not None:
            say(f"cannot preload {name}: {type(error).__name__}: {error}")
        if left:
            say(f"{name} is not preloaded: its import leaves {left}, which children would miss")
            left_out.append(name)
    if left_out:
        start_anew([name for name in names if name not in left_out], learned)


def imported(name):
    """Imports a module. Returns what it raised, and what it left that a child would miss; None for nothing."""
    before, error = (threads(), descriptors()), None
    try:
        __import__(name)
    except BaseException as raised:
        error = raised
    return error, what_is_left(*before)


def described(error):
    return f"{type(error).__name__}: {error}"[:LONGEST_REASON].encode("ascii", "backslashreplace").decode()


def start_anew(preload, learned):
    """Starts this process anew with other modules: nothing else ends a thread."""
    os.closerange(FIRST_FREE_DESCRIPTOR, max(descriptors(), default=0) + 1)
    os.execve(sys.executable, [sys.executable, *sys.argv[:2], room, ",".join(learned), *preload], ENVIRONMENT)


def load_learned(names, room):
    """Imports the named modules if the zygote then has at most `room` KiB more, each first in a child that is thrown away. Leaves out what a
    program would miss, and tells the interpreter what became of each."""
    # Only the configured Python's own modules are found.
    own = [path for path in sys.path if path.startswith(OWN_PATH)]
    sys.path[:] = [path for path in sys.path if path and path not in own]
    rest, until = list(names), time.monotonic() + TRIALS_DEADLINE
    for name in names:
        verdict, size, remains = "Postponed", 0, None
        if name in sys.modules:
            verdict = "Loaded"
        elif time.monotonic() < until:
            verdict, size = tried(name, room)
        if verdict == "Loaded":
            error, remains = imported(name)
            room -= size
            if remains or error is not None:
                verdict = {"LeftOut": f"its import leaves {remains}" if remains else described(error)}
        tell({"Tried": {"name": name, "verdict": verdict}})
        if verdict != "Loaded":
            rest.remove(name)
        if remains:
            start_anew(preload, rest)
    sys.path[:0] = own


def tried(name, room):
    """Imports a module in a child. Returns the verdict, and by how many KiB the import enlarges a process."""
    reading, writing = os.pipe()
    child = fork()
    if not child:
        try:
            os.close(reading)
            os.write(writing, json.dumps(trial(name, room)).encode())
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
    if not is_installed(package_of(name)):
        return "Absent", 0
    output = os.memfd_create("output")
    os.dup2(output, 1)
    os.dup2(output, 2)
    before, found = memory(), surroundings()
    error, left = imported(name)
    size = max(memory() - before, 0)
    changed = [what for what, value in surroundings().items() if value != found[what]]
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return "Absent", 0
    for stream in sys.stdout, sys.stderr:
        stream.flush()
    reason = None
    if error is not None:
        reason = described(error)
    elif left:
        reason = f"its import leaves {left}"
    elif os.fstat(output).st_size:
        reason = "its import prints"
    elif changed:
        reason = f"its import changes {changed[0]}"
    elif size > room:
        reason = f"its import takes {size >> 10} MiB of memory, and {room >> 10} MiB are left for modules"
    return ({"LeftOut": reason} if reason else "Loaded"), size


def surroundings():
    """What programs find that do not import a module."""
    return {
        "the working directory": os.getcwd(),
        "signal handlers": [_signal.getsignal(number) for number in range(1, _signal.NSIG)],
        "how exceptions are shown": sys.excepthook,
        "how values are shown": sys.displayhook,
        "the standard streams": [sys.stdin, sys.stdout, sys.stderr],
        "builtins": set(vars(builtins)),
    }


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


def list_of_imported():
    names, length = [], 0
    for name in sorted(sys.modules, key=len):
        length += len(name) + 4
        if name.isascii() and length < LONGEST_LIST:
            names.append(name)
    return names


def tell(message):
    """Sends a message to the spawner."""
    os.write(SOCKET, json.dumps(message).encode())


def say(text):
    """Writes one entry to the log."""
    os.write(2, f"{text}\n".encode(errors="backslashreplace"))


def threads():
    """The number of threads, without those that a child does not miss."""
    restarted = sum(getattr(sys.modules.get(name), number, 0) for name, number in RESTARTED_THREADS.items())
    return sum(thread_name(task) not in FORK_SAFE_THREADS for task in os.listdir("/proc/self/task")) - restarted


def thread_name(task):
    try:
        with open(f"/proc/self/task/{task}/comm") as file:
            return file.read().strip()
    except OSError:
        # The thread has ended.
        return None


def descriptors():
    """The open descriptors, without the one that lists them."""
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}


def what_is_left(threads_before, descriptors_before):
    """What a module's import has left that a child would miss, because a fork does not copy it or a child closes it."""
    if (more := threads() - threads_before) > 0:
        # Numeric libraries end their threads before a fork, and start them again when they are needed.
        fork_once()
        until = time.monotonic() + THREAD_DEADLINE
        while (more := threads() - threads_before) > 0 and time.monotonic() < until:
            time.sleep(0.001)
    if more > 0:
        return "a thread" if more == 1 else f"{more} threads"
    if opened := descriptors() - descriptors_before:
        return "an open descriptor" if len(opened) == 1 else f"{len(opened)} open descriptors"
    return None


def fork_once():
    child = fork()
    if not child:
        os._exit(0)
    # A fork handler in the child may wait for a thread that does not exist there.
    wait_for(child, FORK_DEADLINE)


def fork():
    with warnings.catch_warnings():
        # Python warns about a fork in a process with threads, which is intended here.
        warnings.simplefilter("ignore")
        return os.fork()


def wait_for(child, deadline):
    """Returns the child's wait status. One that takes more than `deadline` seconds is killed: then None, or STARVED if it was ready to run for
    most of that time, and others had the CPU."""
    started, pause = time.monotonic(), 0.001
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        elapsed, starved = time.monotonic() - started, waited_for_cpu(child)
        if elapsed - starved > deadline or elapsed > 3 * deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return None if elapsed - starved > deadline else STARVED
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return ended[1]


def waited_for_cpu(process):
    """For how many seconds a process was ready to run and others ran."""
    try:
        with open(f"/proc/{process}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):
        # The kernel does not count it.
        return 0


def load_and_note_generators(names):
    """Loads the named modules. Returns the random number generators that seeded themselves from the system."""
    import random

    plain, noted = random.Random.seed, {}

    def seed(self, a=None, version=2):
        if a is None and not isinstance(self, random.SystemRandom):
            noted[id(self)] = ref(self)
        else:
            noted.pop(id(self), None)
        return plain(self, a, version)

    random.Random.seed = seed
    try:
        load(names)
        if learns:
            tell({"Imported": list_of_imported()})
            load_learned(learned, int(room))
    finally:
        random.Random.seed = plain
    numpy = sys.modules.get("numpy.random")
    if numpy and (count := sum(type(found) in (numpy.Generator, numpy.RandomState) for found in gc.get_objects()) - 1) > 0:
        say(f"preloaded modules have {count} generators of numpy's, which begin alike in every program")
    found = [generator for reference in noted.values() if (generator := reference()) is not None]
    return [generator for generator in found if generator is not random._inst]


def load_and_watch(names):
    """Loads the named modules. Returns each package with all packages that it imports, also indirectly, and the generators."""
    plain, imports = builtins.__import__, {}

    def watched(name, globals=None, locals=None, fromlist=(), level=0):
        if not level and globals and (importer := globals.get("__name__")):
            imports.setdefault(package_of(importer), set()).add(package_of(name))
        return plain(name, globals, locals, fromlist, level)

    builtins.__import__ = watched
    try:
        generators = load_and_note_generators(names)
    finally:
        builtins.__import__ = plain
    for found in imports.values():
        more = found
        while more := {other for package in more for other in imports.get(package, ())} - found:
            found |= more
    return imports, generators


# `room` is empty if no modules are learned.
library, room, learned, *preload = sys.argv[1:]
learns, learned = bool(room), [name for name in learned.split(",") if name]
if learns:
    import contextlib
    import json
imports, generators = load_and_watch(preload) if preload or learns else ({}, [])
main = None
IMPORTED = [module for name, module in sys.modules.items() if name != "__main__"]
ahead = {name: module for name, module in sys.modules.items() if name not in AT_THE_START}
few = len(ahead) <= FEW
# Some modules put objects into `sys.modules` that are not modules: these stay.
to_put_aside = [name for name in ahead if (few or "." not in name) and getattr(ahead[name], "__spec__", None)]
together = {package: with_its_imports(package) for package in {*map(package_of, to_put_aside)}} if few else {}
aside = {}
if few:
    put_aside()
gc.collect()
gc.freeze()
# Raises an exception. Python then calls the native part as `sys.excepthook`, in the main thread's own state, without a frame of this script.
_imp.create_dynamic(importlib.machinery.ModuleSpec("zygote", None, origin=library))
