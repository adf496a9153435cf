# What comes of output that is not flushed, or cannot be.
# %% no newline at the end
import sys
sys.stdout.write("out"); sys.stderr.write("err")
# %% a buffer of its own over standard output
import io, sys
buffered = open(1, "wb", buffering=1 << 16, closefd=False)
buffered.write(b"flushed when it is deleted\n")
text = io.TextIOWrapper(sys.stdout.buffer, write_through=False)
text.write("so is this\n")
# %% a file that is still open
file = open("made.txt", "w")
file.write("content that is flushed at the end")
other = open("other.txt", "w", buffering=1 << 20)
other.write("x" * 100_000)
def keeps_it(): return file
# %% a file in a cycle
class Holder: pass
holder = Holder()
holder.itself, holder.file = holder, open("made.txt", "w")
holder.file.write("content")
del holder
# %% os._exit leaves what is buffered
import os
file = open("made.txt", "w")
file.write("lost")
os.write(1, b"written\n")
os._exit(0)
# %% binary output between text
import sys
print("text")
sys.stdout.buffer.write(b"bytes \xff\xfe\n")
print("text", file=sys.stderr)
sys.stderr.buffer.write(b"more \x00 bytes\n")
# %% closing sys.stdout
import sys
print("before")
sys.stdout.close()
try: print("after")
except ValueError as error: print(error, file=sys.stderr)
# %% closing descriptor 1 and printing
import os
print("before", flush=True)
os.close(1)
print("after")
# %% closing descriptor 1 and leaving
import os
os.close(1)
# %% closing descriptor 2 and failing
import os
os.close(2)
1 / 0
# %% printing to a closed standard error
import os, sys
os.close(2)
try: print("x", file=sys.stderr, flush=True)
except OSError as error: print(error)
sys.exit("a reason that nobody hears")
# %% no sys.stdout
import sys
sys.stdout = None
print("nothing")
sys.stderr = None
1 / 0
# %% sys.stdout of its own
import io, sys
sys.stdout = io.StringIO()
print("kept")
sys.stderr.write(sys.stdout.getvalue())
# %% sys.stdout of its own that cannot be flushed
import sys
class Output:
    def write(self, text): return sys.__stdout__.write(text.upper())
    def flush(self): raise OSError("cannot flush")
sys.stdout = Output()
print("text")
# %% sys.stderr of its own gets the traceback
import sys
class Output:
    def write(self, text): sys.__stdout__.write(text)
sys.stderr = Output()
raise ValueError("text")
# %% redirected with contextlib
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out): print("inside")
print(repr(out.getvalue()))
# %% descriptor 1 led elsewhere
import os
saved = os.dup(1)
os.dup2(os.open("made.txt", os.O_WRONLY | os.O_CREAT), 1)
print("into the file")
os.dup2(saved, 1)
print("out again")
# %% output that cannot be written
import os, sys
os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
sys.stdout.reconfigure(write_through=False)
sys.stdout = open(1, "w", buffering=1 << 16, closefd=False)
print("lost")
# %% a pipe without a reader
import os, sys
reading, writing = os.pipe()
os.close(reading)
os.dup2(writing, 1)
print("lost")
# %% output in __del__ and from a thread that ends last
import threading
class Told:
    def __del__(self): print("deleted", flush=True)
told = Told()
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread", end=""))).start()
# %% much output
print("0123456789" * 20_000)
# %% a line that is longer than a pipe, in pieces
import sys
for number in range(3000): sys.stdout.write(f"{number:050}")
sys.stdout.flush()
# %% output of children, in order
import os, subprocess, sys
print("first")
subprocess.run(["echo", "second"])
os.system("echo third; echo third again >&2")
print("fourth")
