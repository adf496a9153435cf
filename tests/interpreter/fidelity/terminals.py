# Pseudo-terminals, and what libraries ask of the machine.
# %% a pair that is opened
import os, termios
outer, inner = os.openpty()
os.write(inner, b"line\n")
print(os.isatty(inner), os.ttyname(inner).startswith("/dev/pts/"), os.read(outer, 10))
termios.tcsetwinsize(outer, (7, 9)) if hasattr(termios, "tcsetwinsize") else None
print(os.get_terminal_size(inner).lines in (0, 7), os.path.exists("/dev/ptmx"))
# %% a child on a terminal of its own
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    print("in the child", os.isatty(0), os.isatty(1), os.tcgetpgrp(0) == os.getpgrp())
    sys.stdout.flush()
    os._exit(3)
printed = b""
try:
    while text := os.read(terminal, 100): printed += text
except OSError as error: print(error.errno)
print(printed, os.WEXITSTATUS(os.waitpid(child, 0)[1]))
# %% a command on a terminal
import os, pty, sys
def read(descriptor):
    text = os.read(descriptor, 1024)
    print(ascii(text), flush=True)
    return text
sys.stdout.flush()
print(pty.spawn(["sh", "-c", "test -t 0 && echo on a terminal"], read))
# %% an interrupt through a terminal
import os, pty, time
child, terminal = pty.fork()
if child == 0:
    try:
        print("ready", flush=True)
        # Not signal.pause(): the interrupt may come before it, and pause() would wait for a second one.
        while True: time.sleep(0.01)
    except KeyboardInterrupt: os._exit(7)
while b"ready" not in os.read(terminal, 100): pass
os.write(terminal, b"\x03")
print(os.WEXITSTATUS(os.waitpid(child, 0)[1]))
# %% the processors, as libraries read them
import glob, os
for name in ("possible", "present", "online"):
    with open(f"/sys/devices/system/cpu/{name}") as file: print(name, file.read().strip())
print(len(glob.glob("/sys/devices/system/cpu/cpu[0-9]*")), os.popen("lscpu --parse=core,socket").read())
# %% the home directory
import os, stat
home = os.stat(os.path.expanduser("~"))
print(bool(home.st_mode & stat.S_IWOTH), home.st_uid == os.getuid(), os.access(os.path.expanduser("~"), os.W_OK))
