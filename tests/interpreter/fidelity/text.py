# Text on its way out and in.
# %% encodings of the streams
import sys
for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.newlines)
    print(type(stream).__name__, type(stream.buffer).__name__, type(stream.buffer.raw if hasattr(stream.buffer, "raw") else 0))
    print(stream.fileno(), stream.isatty(), stream.readable(), stream.writable(), stream.seekable(), stream)
print(sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
# %% encodings of the system
import codecs, io, locale, sys
print(locale.getpreferredencoding(), locale.getpreferredencoding(False), locale.getlocale(), sys.getfilesystemencoding())
print(sys.getfilesystemencodeerrors(), sys.getdefaultencoding(), locale.setlocale(locale.LC_ALL), locale.localeconv()["decimal_point"])
print(io.text_encoding(None), open("x", "w").encoding, codecs.lookup(locale.getpreferredencoding()).name)
print(locale.setlocale(locale.LC_ALL, ""), locale.strcoll("a", "B"), locale.str(1.5))
# %% unicode
print("żółć 🐍 \u2028 \x00 \x1b[31m\r\n\ttab", ascii("ß"), "ß".upper(), "İ".lower(), len("🐍"))
# %% a lone surrogate cannot be printed
print("before")
print("\udc80")
# %% but on stderr it is escaped
import sys
print("\udc80 \ud800 ż", file=sys.stderr)
raise ValueError("\udc80")
# %% reconfigured
import sys
sys.stdout.reconfigure(encoding="latin-1", errors="replace", newline="\r\n", line_buffering=True)
print("é €")
print(sys.stdout.encoding, sys.stdout.errors)
# %% file names that are not UTF-8
import os
open(b"\xff.txt", "w").close()
print(ascii(sorted(os.listdir())), os.fsencode("\udcff"), ascii(os.fsdecode(b"\xff")))
os.remove(b"\xff.txt")
# %% input at the end of the input
input("prompt")
# %% reading at the end of the input
import os, sys
print(repr(sys.stdin.read()), repr(sys.stdin.readline()), list(sys.stdin), os.read(0, 10), sys.stdin.isatty(), sys.stdin.closed)
try: input()
except EOFError as error: print(error)
# %% getpass and other questions
import warnings, getpass
warnings.simplefilter("ignore")
try: getpass.getpass()
except EOFError as error: print("no password", error)
# %% the size of a terminal that is not there
import os, shutil, sys
print(shutil.get_terminal_size(), os.isatty(1), os.environ.get("TERM"), os.environ.get("COLUMNS"))
try: os.get_terminal_size(1)
except OSError as error: print(error.errno)
