# Tracebacks, to the letter.
# %% nested functions
def outer(): return inner(1)
def inner(x):
    return (
        x
        / (x - 1)
    )
outer()
# %% a chain of causes and contexts
def first(): {}["key"]
try:
    try: first()
    except KeyError as error: raise ValueError("second") from error
except ValueError:
    raise RuntimeError("third")
# %% a context that is suppressed
try: 1 / 0
except ZeroDivisionError: raise ValueError("alone") from None
# %% a group of exceptions
def fail(kind, text): raise kind(text)
def caught(kind, text):
    try: fail(kind, text)
    except Exception as error: return error
raise ExceptionGroup("several", [caught(ValueError, "one"), ExceptionGroup("inner", [caught(TypeError, "two")])])
# %% except star
try: raise ExceptionGroup("several", [ValueError(1), TypeError(2)])
except* ValueError as group: print(group.exceptions)
# %% notes
error = ValueError("text")
error.add_note("a note\nof two lines")
raise error
# %% in a comprehension, a lambda, a generator and a class body
class Body:
    values = [(lambda x: sum(1 / y for y in [x]))(x) for x in [1, 0]]
# %% in a callback from C
sorted([2, 1], key=lambda x: 1 / (x - 1))
# %% from exec and eval
exec("def function():\n    return eval('1 / 0')\nfunction()")
# %% from code with a name and a line cache of its own
import linecache
text = "x = 1\nraise ValueError('line two')\n"
linecache.cache["<own>"] = (len(text), None, text.splitlines(True), "<own>")
exec(compile(text, "<own>", "exec"))
# %% from a module that the program wrote
with open("helper.py", "w") as file: file.write("def act():\n    raise LookupError('in the helper')\n")
import helper
def call(): helper.act()
call()
# %% from the import of a module that fails
with open("broken.py", "w") as file: file.write("import missing_module\n")
import broken
# %% from the import of a module with a syntax error
with open("broken.py", "w") as file: file.write("def f(:\n    pass\n")
import broken
# %% from the standard library
import json
json.loads('{"a": }')
# %% repeated lines
def again(n): return again(n + 1)
again(0)
# %% mutual recursion
import sys
sys.setrecursionlimit(60)
def left(): right()
def right(): left()
left()
# %% non-ASCII source
def größe(ä): return ä["日本語"] + "🐍" + ä["missing"]
größe({"日本語": "x"})
# %% a wide line
value = {"a": {"b": {"c": None}}}; result = value["a"]["b"]["c"]["d"]["e"] if "a" in value else "something that is quite long and goes on"
# %% suggestions for a name
import collections
def function(argument):
    return arguement
try: function(1)
except NameError as error: print(error.name)
collections.namedtoplo
# %% suggestions for a misspelt builtin
pritn("text")
# %% an assertion
assert 1 == 2, ("a", "message")
# %% arguments of an OSError
open("does not exist")
# %% errors of decoding
b"\xff".decode()
# %% an exception with lines in it
raise ValueError("one\n  two\n\nthree")
# %% an exception of a local class
def function():
    class Local(Exception): pass
    raise Local("text")
function()
# %% an exception in a finally clause
def function():
    try: raise ValueError("first")
    finally: {}["second"]
function()
# %% raised again
def function():
    try: 1 / 0
    except ZeroDivisionError as error:
        print("caught")
        raise
function()
# %% with a traceback of its own
def function():
    try: 1 / 0
    except ZeroDivisionError as error: return error
error = function()
raise error.with_traceback(None)
# %% a limit
import sys
sys.tracebacklimit = 1
def first(): second()
def second(): 1 / 0
first()
# %% no traceback at all
import sys
sys.tracebacklimit = 0
def first(): 1 / 0
first()
# %% a hook of its own
import sys, traceback
def hook(kind, value, tb):
    print(kind, value, len(traceback.extract_tb(tb)), [(f.name, f.lineno, f.line) for f in traceback.extract_tb(tb)])
    print(tb.tb_frame.f_code.co_name, tb.tb_frame.f_back, tb.tb_lasti > 0, sys.exc_info())
sys.excepthook = hook
def function(): 1 / 0
function()
# %% printed by the program
import sys, traceback
def function(): 1 / 0
try: function()
except ZeroDivisionError as error:
    traceback.print_exc()
    print(traceback.format_exc(), "".join(traceback.format_exception(error)) == traceback.format_exc())
    print(traceback.format_tb(error.__traceback__), error.__traceback__.tb_frame is sys._getframe())
# %% with local variables
import traceback
def function(x): return [y / x for y in [1]]
try: function(0)
except ZeroDivisionError as error:
    captured = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in captured.stack: print(frame.name, frame.lineno, sorted(frame.locals) if frame.name != "<module>" else None)
# %% the script has been deleted meanwhile
import os
os.remove("script.py")
def function(): 1 / 0
function()
# %% the script has been changed meanwhile
with open("script.py", "w") as file: file.write("# another\n" * 5)
def function(): 1 / 0
function()
# %% the working directory has changed
import os
os.chdir("/")
def function(): 1 / 0
function()
# %% in __del__
class Wrong:
    def __del__(self): 1 / 0
wrong = Wrong()
del wrong
print("goes on")
# %% in a hook for what cannot be raised
import sys
def hook(unraisable): print(unraisable.exc_type, unraisable.exc_value, unraisable.err_msg, unraisable.object.__qualname__)
sys.unraisablehook = hook
class Wrong:
    def __del__(self): 1 / 0
Wrong()
print("goes on")
# %% in a callback of a weak reference and of the garbage collector
import gc, weakref
class Thing: pass
thing = Thing()
reference = weakref.ref(thing, lambda _: 1 / 0)
del thing
def callback(phase, info): raise ValueError(phase)
gc.callbacks.append(callback)
gc.collect()
gc.callbacks.clear()
# %% in a thread
import threading
def function(): raise ValueError("in a thread")
thread = threading.Thread(target=function, name="own name")
thread.start(); thread.join()
threading.Thread(target=function).start()
# %% in a thread with a hook
import threading
threading.excepthook = lambda arguments: print(arguments.exc_type, arguments.exc_value, arguments.thread.name)
threading.Thread(target=lambda: 1 / 0).start()
# %% in a low-level thread
import _thread, threading, time
done = threading.Event()
def function():
    try: raise ValueError("in a low-level thread")
    finally: done.set()
_thread.start_new_thread(function, ())
done.wait(); time.sleep(0.1)
# %% of a cycle of exceptions
first, second = ValueError("first"), ValueError("second")
first.__context__, second.__context__ = second, first
raise first
# %% of an exception whose class has been deleted from its module
class Gone(Exception): pass
kind = Gone
del Gone
kind.__module__ = None
raise kind("text")
