# How a program's end becomes its exit code.
# %% sys.exit()
import sys; sys.exit()
# %% sys.exit(0)
import sys; sys.exit(0)
# %% sys.exit(3)
import sys; sys.exit(3)
# %% sys.exit(256)
import sys; sys.exit(256)
# %% sys.exit(-1)
import sys; sys.exit(-1)
# %% sys.exit of more than fits
import sys; sys.exit(2 ** 40 + 7)
# %% sys.exit of more than a machine word
import sys; sys.exit(2 ** 70)
# %% sys.exit(True)
import sys; sys.exit(True)
# %% sys.exit(1.5)
import sys; sys.exit(1.5)
# %% sys.exit of text, which flushes what was printed
import sys
print("out")
sys.exit("żółć: a reason")
# %% sys.exit of a tuple
import sys; sys.exit((1, 2))
# %% sys.exit of an object
import sys
class Reason:
    def __repr__(self): return "repr"
    def __str__(self): return "str"
sys.exit(Reason())
# %% sys.exit of an object that cannot be printed
import sys
class Reason:
    def __str__(self): raise ValueError("no text")
sys.exit(Reason())
# %% a subclass of SystemExit with a code of its own
class Mine(SystemExit):
    code = 9
raise Mine("text")
# %% a subclass of SystemExit with a code that raises
class Mine(SystemExit):
    @property
    def code(self): raise ValueError("no code")
raise Mine(4)
# %% SystemExit without arguments, as a class
raise SystemExit
# %% SystemExit from another exception
try: 1 / 0
except ZeroDivisionError as error: raise SystemExit(5) from error
# %% SystemExit in a finally clause replaces the exception
try: 1 / 0
finally: raise SystemExit(6)
# %% SystemExit that is caught
try: raise SystemExit(7)
except SystemExit as exit: print("caught", exit.code)
# %% quit and exit
print(quit, exit)
quit(8)
# %% exit closes standard input
import sys
try: exit("why")
except SystemExit as error: print(sys.stdin.closed, error.code)
# %% os._exit leaves at once
import atexit, os
atexit.register(print, "never")
print("before")
os._exit(7)
# %% os._exit of more than fits
import os; os._exit(300)
# %% os.abort
import os
print("before")
os.abort()
# %% SIGTERM
import os, signal; os.kill(os.getpid(), signal.SIGTERM)
# %% SIGKILL
import os, signal; print("before"); os.kill(os.getpid(), signal.SIGKILL)
# %% SIGALRM
import signal, time
signal.setitimer(signal.ITIMER_REAL, 0.05)
time.sleep(60)
# %% a segmentation fault
import ctypes
print("before")
ctypes.string_at(0)
# %% an uncaught KeyboardInterrupt
raise KeyboardInterrupt
# %% SIGINT
import signal; signal.raise_signal(signal.SIGINT); print("not reached")
# %% KeyboardInterrupt with a hook
import sys
sys.excepthook = lambda kind, value, traceback: print("hook", kind.__name__)
raise KeyboardInterrupt("text")
# %% an exception
raise ValueError("text")
# %% an exception that is no Exception
class Mine(BaseException): pass
raise Mine(1)
# %% GeneratorExit
raise GeneratorExit("text")
# %% StopIteration
next(iter([]))
# %% an exception that cannot be printed
class Mine(Exception):
    def __str__(self): raise RuntimeError("no text")
raise Mine
# %% MemoryError
raise MemoryError
# %% exit in a thread ends that thread
import sys, threading
thread = threading.Thread(target=lambda: (print("in"), sys.exit(3)))
thread.start(); thread.join()
print("main goes on")
# %% an exception in a thread is no failure
import threading
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(); thread.join()
print("main goes on")
# %% an exception in an atexit function
import atexit
atexit.register(print, "first registered, last called")
atexit.register(lambda: 1 / 0)
atexit.register(print, "last registered, first called")
# %% sys.exit in an atexit function
import atexit, sys
atexit.register(print, "called all the same")
atexit.register(sys.exit, 3)
# %% os._exit in an atexit function
import atexit, os
atexit.register(os._exit, 9)
# %% an atexit function changes nothing of an exception's exit code
import atexit
atexit.register(print, "bye")
raise LookupError("why")
# %% an exit code is not lost to an atexit function that raises
import atexit, sys
atexit.register(lambda: 1 / 0)
sys.exit(4)
# %% a hook that exits
import sys
def hook(kind, value, traceback):
    print("hook", value)
    sys.exit(5)
sys.excepthook = hook
raise ValueError("text")
# %% a hook that raises
import sys
def hook(kind, value, traceback): raise KeyError("in the hook")
sys.excepthook = hook
raise ValueError("text")
# %% no hook at all
import sys
del sys.excepthook
raise ValueError("text")
# %% an empty program

# %% only a docstring
"""Nothing else."""
# %% sys.exit below several functions and contexts
import contextlib, sys
@contextlib.contextmanager
def context():
    try: yield
    finally: print("left")
def function():
    with context(): sys.exit(11)
try: function()
finally: print("finally")
