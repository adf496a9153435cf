# What runs at a program's end, and in which order.
# %% atexit functions
import atexit
for number in range(3): atexit.register(print, "atexit", number)
@atexit.register
def with_one_more(): atexit.register(print, "registered while leaving")
def taken_back(): print("never")
atexit.register(taken_back); atexit.unregister(taken_back)
print("end")
# %% globals are deleted
class Told:
    def __init__(self, name): self.name = name
    def __del__(self): print("deleted", self.name)
b, a, c = Told("b"), Told("a"), Told("c")
_d, __e, f_ = Told("_d"), Told("__e"), Told("f_")
print("end")
# %% globals that functions keep alive
class Told:
    def __init__(self, name): self.name = name
    def __del__(self): print("deleted", self.name, a is None, _b is None, print_them is None)
def print_them(): return a, _b, c
_b, a, c = Told("_b"), Told("a"), Told("c")
import json
json.kept = print_them
print("end")
# %% objects in a cycle, a class and a closure
class Told:
    def __init__(self, name): self.name = name
    def __del__(self): print("deleted", self.name)
class Holder: member = Told("class member")
cycle = [Told("in a cycle")]; cycle.append(cycle)
def outer():
    inside = Told("in a closure")
    return lambda: inside
closure = outer()
def with_default(argument=Told("default argument")): pass
# %% objects in other modules
import builtins, json, string, sys
class Told:
    def __init__(self, name): self.name = name
    def __del__(self): print("deleted", self.name)
string.told, json.told, sys.told, builtins.told = Told("string"), Told("json"), Told("sys"), Told("builtins")
own = Told("own")
# %% objects in a module of its own
with open("own.py", "w") as file:
    file.write("""
class Told:
    def __init__(self, name): self.name = name
    def __del__(self): print("deleted", self.name, __name__, sys is None)
import sys
told, _told = Told("told"), Told("_told")
""")
import own
_mine, mine = own.Told("_mine"), own.Told("mine")
# %% what modules are while objects are deleted
import os, sys
class Late:
    def __del__(self): print("deleted", sys is None, os is None, Late is None, sys and sys.is_finalizing(), __name__)
late = Late()
sys.late = Late()
# %% finalizers
import atexit, weakref
class Thing: pass
first, second = Thing(), Thing()
atexit.register(print, "atexit before the finalizers were made")
weakref.finalize(first, print, "first"); weakref.finalize(second, print, "second")
weakref.finalize(second, print, "not at exit").atexit = False
atexit.register(print, "atexit after")
del first
print("end")
# %% weak references and their callbacks
import weakref
class Thing: pass
thing = Thing()
reference = weakref.ref(thing, lambda _: print("callback"))
dictionary = weakref.WeakValueDictionary(x=thing)
print("end", len(dictionary))
# %% an exception in __del__ while leaving
class Wrong:
    def __del__(self): raise ValueError("in __del__")
wrong = Wrong()
print("end")
# %% a generator that is left open
def numbers():
    try:
        yield 1
        yield 2
    finally: print("closed")
generator = numbers()
print(next(generator))
# %% a generator that does not let itself be closed
def numbers():
    while True:
        try: yield 1
        except GeneratorExit: print("ignored")
generator = numbers()
next(generator)
# %% a coroutine that nobody awaited
async def coroutine(): pass
never = coroutine()
coroutine()
print("end")
# %% an asynchronous generator that is left open
import asyncio
async def numbers():
    try: yield 1
    finally: print("closed")
generator = numbers()
async def main(): print(await generator.__anext__())
asyncio.run(main())
# %% threads, then atexit functions, then globals
import atexit, threading
class Told:
    def __del__(self): print("deleted")
told = Told()
atexit.register(print, "atexit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
print("end")
# %% thread-local and context variables
import contextvars, threading
class Told:
    def __init__(self, name): self.name = name
    def __del__(self): print("deleted", self.name)
local, variable = threading.local(), contextvars.ContextVar("variable")
local.told = Told("thread-local")
variable.set(Told("context variable"))
# %% after an exception as after none
import atexit
class Told:
    def __del__(self): print("deleted")
def function():
    told = Told()
    raise ValueError("text")
atexit.register(print, "atexit")
function()
# %% an exception's own objects after SystemExit
import atexit, sys
class Told:
    def __init__(self, name): self.name = name
    def __del__(self): print("deleted", self.name)
def function():
    told = Told("in the frame that left")
    sys.exit(Told("argument"))
atexit.register(print, "atexit")
function()
# %% an excepthook's traceback keeps frames alive
import sys
class Told:
    def __del__(self): print("deleted")
def function():
    told = Told()
    1 / 0
sys.excepthook = lambda *arguments: print("hook", sys.last_value if hasattr(sys, "last_value") else "no last_value")
function()
# %% logging while leaving
import atexit, logging, logging.handlers
memory = logging.handlers.MemoryHandler(10, target=logging.StreamHandler())
logger = logging.getLogger("own"); logger.addHandler(memory)
logger.warning("flushed at exit")
class Told:
    def __del__(self): logging.getLogger().warning("root logger in __del__")
told = Told()
atexit.register(logger.warning, "atexit")
# %% functions that are called when the interpreter is nearly gone
import sys
class Late:
    def __del__(self):
        try:
            import colorsys
            print("imported", colorsys is not None)
        except ImportError as error: print(error)
        try: open("late", "w").close()
        except NameError as error: print(error)
late = Late()
# %% what is called for each collection, in a module that somebody else keeps
open("tracker.py", "w").write("import gc, time as clock\ndef seen(phase, info): clock.time()\ngc.callbacks.append(seen)\n")
import tracker, logging
logging.tracker = tracker
print("end")
# %% collections that are told of while leaving
import atexit, gc
class Told:
    def __del__(self): print("deleted", gc is None)
@atexit.register
def leaving():
    cycle = [Told()]; cycle.append(cycle)
    gc.callbacks.append(lambda phase, info: print(phase, info["generation"], gc is None))
gc.collect()
print("end")
# %% an object in a cycle where the collector is switched off
import gc
gc.disable()
class Told:
    def __del__(self): print("deleted", gc is None)
cycle = [Told()]; cycle.append(cycle)
del cycle
print("end")
# %% an import in a destructor, while leaving
import sys
class Late:
    def __init__(self, names): self.names = names
    def __del__(self):
        for name in self.names:
            try: __import__(name); print("imported", name)
            except ImportError as error: print(error)
        print(sys.meta_path, sys.path, sys.argv)
late = Late(["colorsys"])
