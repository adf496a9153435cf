"""The Python side of the zygote: imports modules ahead, and has the functions of a child that are simpler to write in Python.

The native module `zygote` calls them, in children only. Importing that module ends this script.
"""

# The names in a script's `__main__` at its start, in this version of Python.
AT_THE_BEGINNING = dict(globals())

import sys

# Modules that every Python imports at its start. All others are preloaded, and hidden until a program imports them.
AT_THE_START = set(sys.modules)

import _imp
import gc
import importlib.machinery
import itertools
import os
from _operator import is_

import loading
from loading import package_of

WORKSPACE = "/workspace"

# More modules than this are not hidden: giving them back would take longer than most programs.
FEW = 150

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
        for name in [*loading.PRELOAD, *loading.LEARNED.split(",")]:
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


# Programs do not find our own modules, and neither do modules that are imported ahead.
own = sys.path.pop(0)
for name in "loading", "learned", "remains":
    sys.modules.pop(name, None)
imports, generators = loading.while_watching(loading.load) if loading.PRELOAD or loading.ROOM else ({}, [])
sys.path.insert(0, own)
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
_imp.create_dynamic(importlib.machinery.ModuleSpec("zygote", None, origin=loading.LIBRARY))
