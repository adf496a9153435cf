# What a program finds on the stack: itself and nothing below.
# %% at module level
import inspect, sys, traceback
traceback.print_stack()
traceback.print_stack(file=sys.stdout)
print(len(inspect.stack()), inspect.stack()[0].function, inspect.stack()[0].code_context, len(traceback.extract_stack()))
# %% nested
import inspect, traceback
def outer(): return inner()
def inner():
    traceback.print_stack()
    return [frame.function for frame in inspect.stack()], [frame.lineno for frame in traceback.extract_stack()]
print(outer())
# %% sys._getframe
import sys
frame = sys._getframe()
print(frame.f_back, frame.f_code.co_name, frame.f_code.co_filename, frame.f_lineno, frame.f_trace, frame.f_code.co_flags)
print(frame.f_globals is globals(), frame.f_locals is globals(), frame.f_builtins is vars(__builtins__), frame)
sys._getframe(1)
# %% sys._current_frames
import sys, threading
print(len(sys._current_frames()), sys._current_frames()[threading.get_ident()] is sys._getframe())
print(getattr(sys, "_current_exceptions", dict)().__class__.__name__)
# %% walking outwards
import sys
def depth():
    frame, names = sys._getframe(), []
    while frame: names.append(frame.f_code.co_name); frame = frame.f_back
    return names
print(depth(), [depth() for _ in "x"], eval("depth()"), (lambda: depth())())
exec("print(depth())")
# %% in a thread
import sys, threading, traceback
def look():
    traceback.print_stack(file=sys.stdout)
    print(len(sys._current_frames()))
thread = threading.Thread(target=look)
thread.start(); thread.join()
# %% in an atexit function
import atexit, sys, traceback
def look():
    traceback.print_stack()
    print(sys._getframe().f_back)
atexit.register(look)
# %% in __del__ at the end
import sys
class Late:
    def __del__(self, getframe=sys._getframe): print(getframe().f_back)
late = Late()
# %% in a signal handler
import signal, sys, traceback
def handler(number, frame):
    traceback.print_stack()
    print(frame.f_code.co_name, frame.f_back)
signal.signal(signal.SIGUSR1, handler)
signal.raise_signal(signal.SIGUSR1)
# %% in an exception hook
import sys
def hook(kind, value, tb):
    print(sys._getframe().f_back, tb.tb_frame.f_back, tb.tb_next, sys.exc_info())
sys.excepthook = hook
1 / 0
# %% warnings and loggers that look at their callers
import logging, warnings
logging.basicConfig(format="%(filename)s %(funcName)s %(lineno)d %(module)s %(pathname)s %(message)s", force=True)
logging.warning("module level")
logging.warning("further out than there is", stacklevel=5)
def function(): logging.warning("in a function", stacklevel=2)
function()
logging.warning("stack", stack_info=True)
# %% named tuples and enumerations look at their callers
import collections, enum, typing
print(collections.namedtuple("Point", "x y").__module__, enum.Enum("Color", "RED").__module__)
print(typing.NamedTuple("Pair", [("a", int)]).__module__, typing.TypeVar("T").__module__, typing.NewType("N", int).__module__)
