# Programs that watch a program: tracing, profiling, auditing.
# %% sys.settrace
import sys
events = []
def trace(frame, event, argument):
    events.append((frame.f_code.co_name, event, frame.f_lineno))
    return trace
def function(x):
    y = x + 1
    return y
sys.settrace(trace)
function(1)
sys.settrace(None)
print(events, sys.gettrace())
# %% sys.settrace that stays on
import sys
def trace(frame, event, argument):
    print(frame.f_code.co_name, event)
sys.settrace(trace)
def function(): pass
function()
# %% sys.setprofile
import sys
events = []
def profile(frame, event, argument): events.append((frame.f_code.co_name, event, getattr(argument, "__name__", argument)))
sys.setprofile(profile)
len([])
(lambda: 1)()
sys.setprofile(None)
print(events)
# %% a profile that stays on
import sys
def profile(frame, event, argument):
    if event == "call": sys.__stdout__.write(frame.f_code.co_name + "\n")
sys.setprofile(profile)
def function(): pass
function()
# %% the trace of the module's own frame
import sys
lines = []
def trace(frame, event, argument):
    lines.append((frame.f_code.co_name, event, frame.f_lineno))
    return trace
sys._getframe().f_trace = trace
sys.settrace(trace)
x = 1
y = 2
sys.settrace(None)
print(lines)
# %% an audit hook
import sys
watched = ("open", "exec", "compile", "os.system", "socket.connect", "subprocess.Popen", "builtins.input", "os.fork")
def hook(event, arguments):
    if event in watched: sys.__stdout__.write(f"{event} {arguments[0]!r}\n" if event in ("open", "os.system") else event + "\n")
sys.addaudithook(hook)
exec("1")
open("x", "w").close()
__import__("os").system("true")
# %% an audit hook that forbids
import sys
def hook(event, arguments):
    if event == "open" and arguments[0] == "forbidden": raise PermissionError("not allowed")
sys.addaudithook(hook)
open("forbidden", "w")
# %% cProfile
import cProfile, io, pstats
def inner(): pass
def outer():
    for _ in range(3): inner()
profile = cProfile.Profile()
profile.runcall(outer)
print(sorted((name, line, calls[0]) for (_, line, name), calls in pstats.Stats(profile).stats.items()))
cProfile.run("outer()", "stats")
print(sorted(name for _, _, name in pstats.Stats("stats", stream=io.StringIO()).stats))
import os; os.remove("stats")
# %% trace
import trace
def function(x):
    if x: return 1
    return 2
tracer = trace.Trace(count=1, trace=0)
tracer.runfunc(function, 0)
print(sorted((line, count) for (_, line), count in tracer.results().counts.items()))
# %% the pure Python profiler and timeit
import profile, timeit
result = profile.Profile()
result.runctx("sum([1, 2])", {}, {})
print(timeit.timeit("pass", number=10) >= 0, len(result.getstats() if hasattr(result, "getstats") else []) >= 0)
# %% tracemalloc
import tracemalloc
print(tracemalloc.is_tracing())
tracemalloc.start()
data = [bytes(1000) for _ in range(100)]
top = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, __file__)]).statistics("lineno")[0]
print(top.traceback, top.count >= 100, tracemalloc.get_object_traceback(data))
# %% trace in threads
import sys, threading
names = []
threading.settrace(lambda frame, event, argument: names.append(frame.f_code.co_name))
def function(): pass
thread = threading.Thread(target=function)
thread.start(); thread.join()
print("function" in names, sys.gettrace())
