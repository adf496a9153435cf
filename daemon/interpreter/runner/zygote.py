"""The Python side of the zygote: imports what children are to find imported, and does what is easier said in Python.

The native module `zygote` calls the functions below, in children only. Its import ends this script.
"""

# What a script's `__main__` holds at its very beginning, in this version of Python.
AT_THE_BEGINNING = dict(globals())

import sys

# What every Python imports at its start. All else is imported ahead of need, and put aside until a program imports it.
AT_THE_START = set(sys.modules)

import _imp
import gc
import importlib.machinery
import itertools
import os

WORKSPACE = "/workspace"

# More modules than this stay where programs find them: to give them back would take longer than most programs do.
FEW = 150

# Looked up by the native part.
from _io import BufferedWriter, TextIOWrapper

collect, freeze, get_objects = gc.collect, gc.freeze, gc.get_objects


def prepare():
    """Makes the child's own `__main__` and random numbers."""
    global main
    main = type(sys)("__main__")
    names = vars(main)
    names.clear()
    names.update(AT_THE_BEGINNING)
    names["__doc__"] = None
    sys.modules["__main__"] = main
    # `random` seeds itself again after a fork; this generator does not.
    if "numpy.random" in ahead:
        ahead["numpy.random"].seed()
    # Threads are counted from one, whatever was imported, and the main one is this process's.
    if "threading" in ahead:
        ahead["threading"]._counter = itertools.count(1).__next__
        ahead["threading"].main_thread()._set_native_id()
    gc.enable()


def begin(job):
    """Sets what `python3 script.py` would have been started with; returns `__main__`."""
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
    # The names are looked at one by one only if they must be: a look at one copies the page that it lies on.
    if not aside and (own := own_names() & PACKAGES):
        for name in [name for name in ahead if name.partition(".")[0] in own]:
            sys.modules.pop(name, None)
    module, main = main, None
    return module


def own_names():
    """Modules that the program has a file for, beside its own: they hide others."""
    return {entry.partition(".")[0] for entry in os.listdir(WORKSPACE)} - {"script"}


class Aside:
    """Gives programs the modules that were put aside, when they import one: all of them, as they refer to each other. Not those
    that the program has a file of the same name for, beside its own. A meta path finder."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in aside:
            return None
        sys.meta_path.remove(Aside)
        own = own_names()
        given = {module: aside[module] for module in aside if module.partition(".")[0] not in own}
        aside.clear()
        # The one that is asked for must not be there yet, or it would be loaded anew.
        module = given.pop(name, None)
        for other in given:
            sys.modules.setdefault(other, given[other])
        return module and importlib.machinery.ModuleSpec(name, Given(module))


class Given:
    """Loads a module that is there already, and leaves it as it is. A loader."""

    def __init__(self, module):
        self.module, self.spec = module, getattr(module, "__spec__", None)

    def create_module(self, spec):
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec


def load(names):
    """Imports what children are to find imported; what cannot be is said, and left out."""
    for name in names:
        try:
            __import__(name)
        except BaseException as error:
            print(f"cannot preload {name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


library, *preload = sys.argv[1:]
load(preload)
main = None
IMPORTED = [module for name, module in sys.modules.items() if name != "__main__"]
ahead = {name: module for name, module in sys.modules.items() if name not in AT_THE_START}
PACKAGES = {name.partition(".")[0] for name in ahead}
aside = {}
if len(ahead) <= FEW:
    aside = ahead
    for name in aside:
        del sys.modules[name]
    sys.meta_path.insert(0, Aside)
gc.collect()
gc.freeze()
# Raises an exception, which makes Python call the native part: with no frame of this script beneath, and in the main thread's own state.
_imp.create_dynamic(importlib.machinery.ModuleSpec("zygote", None, origin=library))
