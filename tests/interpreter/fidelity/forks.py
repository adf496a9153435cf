# os.fork and programs started.
# %% the child goes on to the end as well
import atexit, os
atexit.register(lambda: print("atexit of the", who, flush=True))
print("before", flush=True)
child = os.fork()
who = "parent" if child else "child"
if child: os.waitpid(child, 0)
class Told:
    def __del__(self): print("deleted", flush=True)
told = Told()
print("end", flush=True)
# %% the child fails and the parent goes on
import os
child = os.fork()
if child == 0: raise ValueError("in the child")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
# %% the child leaves with its own code
import os, sys
for code in (0, 5, "text", None):
    child = os.fork()
    if child == 0: sys.exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
# %% the child leaves at once
import os
child = os.fork()
if child == 0: os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.getpid() != child)
# %% the parent is killed by a signal that it gives itself, the child goes on
import os, signal
reading, writing = os.pipe()
if os.fork() == 0:
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
os.kill(os.getpid(), signal.SIGTERM)
# %% in a function, a thread and twice
import os, threading
def function():
    try:
        child = os.fork()
        if child == 0:
            grandchild = os.fork()
            if grandchild == 0: os._exit(2)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) + 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    finally: print("finally", flush=True)
thread = threading.Thread(target=function)
thread.start(); thread.join()
function()
# %% a child that ends in a thread's function
import os, threading
def function():
    child = os.fork()
    if child == 0:
        print(threading.main_thread() is threading.current_thread(), threading.active_count(), flush=True)
        return
    os.waitpid(child, 0)
thread = threading.Thread(target=function)
thread.start(); thread.join()
print("end of", "the parent", flush=True)
# %% functions that are registered for forks
import os
called = []
before, parent, child = (lambda name=name: called.append(name) for name in ("before", "in parent", "in child"))
os.register_at_fork(before=before, after_in_parent=parent, after_in_child=child)
child = os.fork()
if child: os.waitpid(child, 0)
print(called, flush=True)
if child == 0: os._exit(0)
# %% exec
import os, sys
print("before", flush=True)
os.execv(sys.executable, [sys.executable, "-c", "import sys; print(sys.argv); sys.exit(3)", "argument"])
# %% exec of the same script
import os, sys
print(sys.argv, flush=True)
if len(sys.argv) == 1: os.execv(sys.executable, [sys.executable] + sys.argv + ["again"])
# %% subprocess
import subprocess, sys
run = lambda *arguments, **options: subprocess.run(arguments, capture_output=True, text=True, **options)
print(run(sys.executable, "-c", "import sys; print(sys.argv, __name__)", "x"))
print(run("sh", "-c", "echo out; echo err >&2; exit 3"), run("cat", input="text").stdout)
print(subprocess.run("echo $((6 * 7))", shell=True, capture_output=True).stdout, subprocess.call(["false"]))
try: subprocess.check_output(["sh", "-c", "kill -9 $$"])
except subprocess.CalledProcessError as error: print(error)
try: subprocess.run(["sleep", "60"], timeout=0.05)
except subprocess.TimeoutExpired as error: print(error.cmd)
try: run("no such program")
except FileNotFoundError as error: print(error)
# %% subprocess with its own streams
import subprocess, sys
with subprocess.Popen(["sort"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child: print(child.communicate("b\na\n"))
print(subprocess.run([sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"], capture_output=True).stdout)
subprocess.run(["sh", "-c", "echo inherited; echo inherited >&2"])
print(subprocess.run([sys.executable, "-"], input=b"print(__name__)", capture_output=True).stdout)
# %% a child process that is still alive at the end
import subprocess
child = subprocess.Popen(["sleep", "0.1"])
print(child.poll(), child.returncode)
# %% os.popen and os.system
import os
print(os.popen("echo popen").read(), os.popen("exit 3").close(), os.system("exit 4") >> 8, os.system("kill -9 $$"))
# %% os.posix_spawn
import os, sys
child = os.posix_spawn(sys.executable, [sys.executable, "-c", "print('spawned')"], os.environ)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
# %% the script started again by another Python
import subprocess, sys
if "again" in sys.argv: print("again", __name__, sys.argv[1:]); sys.exit(5)
print(subprocess.run([sys.executable, __file__, "again"], capture_output=True, text=True))
print(subprocess.run([sys.executable, "-m", "script", "again"], capture_output=True, text=True).stdout)
# %% descriptors that children see
import os, subprocess
print(sorted(os.listdir("/proc/self/fd")), [os.get_inheritable(fd) for fd in range(3)])
print(subprocess.run(["ls", "/proc/self/fd"], capture_output=True, text=True).stdout.split())
print(subprocess.run(["ls", "/proc/self/fd"], close_fds=False, capture_output=True, text=True).stdout.split())
import fcntl, stat
for fd in range(3): print(oct(fcntl.fcntl(fd, fcntl.F_GETFL)), stat.filemode(os.fstat(fd).st_mode)[0], fcntl.fcntl(fd, fcntl.F_GETFD))
