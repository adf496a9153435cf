"""Imports the modules that programs find imported."""

import builtins
import gc
import os
import sys
from _weakref import ref

from remains import descriptors, imported

# A copy, because modules may change it.
ENVIRONMENT = dict(os.environ)

# `ROOM` is empty if no modules are learned.
SCRIPT, LIBRARY, ROOM, LEARNED, *PRELOAD = sys.argv
if ROOM:
    import learned

# After stdin, stdout, stderr and the native part's socket.
FIRST_FREE_DESCRIPTOR = 4


def load():
    """Imports the modules of the settings, and the learned ones."""
    load_preload(PRELOAD)
    if ROOM:
        learned.tell_imported()
        rest = learned.load([name for name in LEARNED.split(",") if name], int(ROOM))
        if rest is not None:
            start_anew(",".join(rest), PRELOAD)


def load_preload(names):
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
        start_anew(LEARNED, [name for name in names if name not in left_out])


def start_anew(names, preload):
    """Starts this process anew with other modules: nothing else ends a thread."""
    os.closerange(FIRST_FREE_DESCRIPTOR, max(descriptors(), default=0) + 1)
    os.execve(sys.executable, [sys.executable, SCRIPT, LIBRARY, ROOM, names, *preload], ENVIRONMENT)


def while_noting_generators(load):
    """Calls `load`. Returns the random number generators that seeded themselves from the system."""
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
        load()
    finally:
        random.Random.seed = plain
    numpy = sys.modules.get("numpy.random")
    if numpy and (count := sum(type(found) in (numpy.Generator, numpy.RandomState) for found in gc.get_objects()) - 1) > 0:
        say(f"preloaded modules have {count} generators of numpy's, which begin alike in every program")
    found = [generator for reference in noted.values() if (generator := reference()) is not None]
    return [generator for generator in found if generator is not random._inst]


def while_watching(load):
    """Calls `load`. Returns each package with all packages that it imports, also indirectly, and what `while_noting_generators` returns."""
    plain, imports = builtins.__import__, {}

    def watched(name, globals=None, locals=None, fromlist=(), level=0):
        if not level and globals and (importer := globals.get("__name__")):
            imports.setdefault(package_of(importer), set()).add(package_of(name))
        return plain(name, globals, locals, fromlist, level)

    builtins.__import__ = watched
    try:
        generators = while_noting_generators(load)
    finally:
        builtins.__import__ = plain
    for found in imports.values():
        more = found
        while more := {other for package in more for other in imports.get(package, ())} - found:
            found |= more
    return imports, generators


def package_of(name):
    return name.partition(".")[0]


def say(text):
    """Writes one entry to the log."""
    os.write(2, f"{text}\n".encode(errors="backslashreplace"))
