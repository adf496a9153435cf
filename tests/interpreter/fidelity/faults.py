# The module faulthandler.
# %% dumping on request
import faulthandler, sys
def outer(): inner()
def inner(): faulthandler.dump_traceback(all_threads=False)
faulthandler.dump_traceback()
outer()
print(faulthandler.is_enabled())
# %% dumping all threads
import faulthandler, threading
ready, done = threading.Event(), threading.Event()
def wait():
    ready.set()
    done.wait()
thread = threading.Thread(target=wait)
thread.start(); ready.wait()
while not any(frame.f_code.co_name == "wait" and frame.f_code.co_filename.endswith("threading.py") for frame in __import__("sys")._current_frames().values()): pass
__import__("time").sleep(0.1)
faulthandler.dump_traceback(all_threads=True)
done.set()
# %% a segmentation fault
import ctypes, faulthandler
faulthandler.enable()
def function(): ctypes.string_at(0)
function()
# %% an abort
import faulthandler, os
faulthandler.enable(all_threads=False)
os.abort()
# %% later
import faulthandler, time
faulthandler.dump_traceback_later(0.1)
time.sleep(0.5)
faulthandler.cancel_dump_traceback_later()
print("alive")
# %% later, and leaving
import faulthandler, time
faulthandler.dump_traceback_later(0.1, exit=True)
time.sleep(60)
# %% on a signal
import faulthandler, signal
faulthandler.register(signal.SIGUSR1, chain=False)
def function(): signal.raise_signal(signal.SIGUSR1)
function()
print("alive")
# %% into a file
import faulthandler, os
with open("trace.txt", "w") as file: faulthandler.dump_traceback(file, all_threads=False)
print(open("trace.txt").read())
os.remove("trace.txt")
# %% a fatal error
import ctypes
print("before")
ctypes.pythonapi.Py_FatalError.argtypes = [ctypes.c_char_p]
ctypes.pythonapi.Py_FatalError(b"own words")
