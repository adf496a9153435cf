# Signals, timers and their handlers.
# %% handlers from the start
import signal
for name in "SIGINT SIGPIPE SIGCHLD SIGTERM SIGUSR1 SIGALRM SIGSEGV SIGQUIT SIGXFSZ SIGABRT SIGWINCH SIGTSTP SIGRTMIN".split():
    print(name, signal.getsignal(getattr(signal, name)))
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.sigpending())
print(signal.getitimer(signal.ITIMER_REAL), signal.getitimer(signal.ITIMER_PROF), signal.set_wakeup_fd(-1), signal.alarm(0))
# %% what the kernel knows of them
# All but two signals that the C library keeps for itself, and whose state depends on who started the process.
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
print([hex(int(status[name], 16) & ~(3 << 31)) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")])
# %% a handler in the main thread
import os, signal, threading
def handler(number, frame): print(number, threading.current_thread().name)
signal.signal(signal.SIGUSR1, handler)
os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGUSR1)
threading.Thread(target=signal.raise_signal, args=(signal.SIGUSR1,)).start()
try: threading.Thread(target=lambda: signal.signal(signal.SIGUSR1, handler)).start()
except ValueError as error: print(error)
# %% an alarm that interrupts
import signal, time
def handler(number, frame): raise TimeoutError("too long")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
time.sleep(60)
# %% an alarm that does not interrupt
import signal, time
rings = []
signal.signal(signal.SIGALRM, lambda number, frame: rings.append(number))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
start = time.monotonic(); time.sleep(0.1)
print(len(rings) > 0, time.monotonic() - start >= 0.1, signal.setitimer(signal.ITIMER_REAL, 0)[1])
# %% processor time
import signal
def handler(number, frame): raise TimeoutError(signal.Signals(number).name)
signal.signal(signal.SIGPROF, handler)
signal.setitimer(signal.ITIMER_PROF, 0.05)
while True: pass
# %% waiting for one
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
signal.raise_signal(signal.SIGUSR2)
print(signal.sigpending(), signal.sigwait([signal.SIGUSR2]), signal.sigtimedwait([signal.SIGUSR2], 0.01))
# %% KeyboardInterrupt is caught
import signal
try: signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt as error: print("caught", repr(error))
# %% KeyboardInterrupt from a thread
import _thread, threading, time
threading.Timer(0.05, _thread.interrupt_main).start()
try:
    while True: time.sleep(0.01)
except KeyboardInterrupt: print("interrupted")
# %% an uncaught KeyboardInterrupt while a thread runs
import os, signal, threading, time
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
def wait(): time.sleep(60)
wait()
# %% SIGPIPE is an exception
import os
reading, writing = os.pipe()
os.close(reading)
os.write(writing, b"x")
# %% SIGCHLD and children
import os, signal, time
signal.signal(signal.SIGCHLD, lambda number, frame: print("a child ended", flush=True))
if os.fork() == 0: os._exit(3)
print(os.waitstatus_to_exitcode(os.wait()[1]))
# %% children inherit what is usual
import subprocess, sys
code = "import signal; print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE), signal.pthread_sigmask(0, []))"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
text = subprocess.run("grep -E 'Sig(Blk|Ign)' /proc/self/status", shell=True, capture_output=True, text=True).stdout
print([hex(int(line.split()[1], 16) & ~(3 << 31)) for line in text.splitlines()])
# %% a wakeup descriptor
import os, signal, socket
ours, theirs = socket.socketpair()
theirs.setblocking(False)
signal.set_wakeup_fd(theirs.fileno())
signal.signal(signal.SIGUSR1, lambda *arguments: None)
signal.raise_signal(signal.SIGUSR1)
print(ours.recv(1))
# %% faults that are caught by a handler
import ctypes, signal, os
signal.signal(signal.SIGFPE, lambda number, frame: print("handled", number))
os.kill(os.getpid(), signal.SIGFPE)
print(signal.strsignal(11), signal.Signals(11), len(signal.valid_signals()), signal.siginterrupt(signal.SIGUSR1, False))
# %% a handler that raises while the program leaves
import atexit, signal
signal.signal(signal.SIGUSR1, lambda *arguments: 1 / 0)
atexit.register(signal.raise_signal, signal.SIGUSR1)
print("end")
# %% ignored death
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
signal.signal(signal.SIGTERM, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGTERM)
