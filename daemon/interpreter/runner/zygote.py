"""The Python side of the zygote: imports what children are to find imported, and does what is easier said in Python.

The native module `zygote` calls the functions below, in children only. It never returns from its import.
"""

# What a script's `__main__` holds at its very beginning, in this version of Python.
AT_THE_BEGINNING = dict(globals())

import _imp
import gc
import importlib.machinery
import os
import sys
import weakref

WORKSPACE = "/workspace"


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
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
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
    module, main = main, None
    return module


def exit_code(exception):
    """The exit code of a SystemExit, as Python computes it."""
    code = exception.code
    if code is None:
        return 0
    if isinstance(code, int):
        # Too large for C becomes -1.
        return code & 0xFF if -(2**63) <= code < 2**63 else 0xFF
    try:
        sys.stdout.flush()
    except Exception:
        pass
    try:
        print(code, file=sys.stderr)
    except Exception:
        pass
    return 1


def leave():
    """Lets the program's own modules go as Python does at its end."""
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            setattr(sys, name, None)
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    let_go_of_modules()


def let_go_of_modules():
    """Objects that programs hold in their modules are destroyed, in the order of Python's own end."""
    living = []
    for name, module in list(sys.modules.items()):
        if module is not None and IMPORTED.get(name) is not module:
            try:
                living.append(weakref.ref(module))
            except TypeError:
                # Something else than a module was put there.
                pass
            del sys.modules[name]
    del name, module
    gc.collect()
    again = False
    for reference in reversed(living):
        module = reference()
        if module is None:
            continue
        again = True
        names = getattr(module, "__dict__", None)
        if type(names) is dict:
            # Names with one underscore go first.
            for early in (True, False):
                for name in list(names):
                    if name != "__builtins__" and early == (name[:1] == "_" and name[1:2] != "_"):
                        names[name] = None
    if again:
        gc.collect()


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
IMPORTED = {name: module for name, module in sys.modules.items() if name != "__main__"}
gc.collect()
gc.freeze()
_imp.create_dynamic(importlib.machinery.ModuleSpec("zygote", None, origin=library))
