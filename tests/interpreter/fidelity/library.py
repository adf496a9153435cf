# Parts of the standard library that reach outside of Python.
# %% foreign functions that call back
import ctypes, threading
libc = ctypes.CDLL(None)
numbers = (ctypes.c_int * 5)(3, 1, 2, 5, 4)
Compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
calls = []
def compare(a, b):
    calls.append(threading.current_thread().name)
    return a[0] - b[0]
libc.qsort(numbers, 5, ctypes.sizeof(ctypes.c_int), Compare(compare))
print(list(numbers), set(calls))
# %% an exception in a callback
import ctypes
Callback = ctypes.CFUNCTYPE(None, ctypes.c_int)
def callback(x): raise ValueError("in a callback")
print(Callback(callback)(1))
# %% Python's own functions
import ctypes, sys
ctypes.pythonapi.Py_GetVersion.restype = ctypes.c_char_p
print(ctypes.pythonapi.Py_GetVersion().decode() == sys.version, ctypes.pythonapi.Py_IsInitialized(), ctypes.pythonapi.PyGILState_Check())
ctypes.pythonapi.PyRun_SimpleString(b"made_by_c = 1; print(__name__)")
print(made_by_c)
ctypes.pythonapi.PyRun_SimpleString(b"1 / 0")
ctypes.pythonapi.PyErr_SetNone.argtypes = [ctypes.py_object]
ctypes.pythonapi.PyErr_SetNone(KeyError)
# %% a thread made outside of Python
import ctypes, threading
Start = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
seen = []
def run(_):
    seen.extend([type(threading.current_thread()).__name__, threading.active_count()])
    return 0
start = Start(run)
thread = ctypes.c_ulong()
libc = ctypes.CDLL(None)
print(libc.pthread_create(ctypes.byref(thread), None, start, None), libc.pthread_join(thread, None), seen)
# %% an exit handler of the C library, and exit itself
import atexit, ctypes
libc = ctypes.CDLL(None)
handler = ctypes.CFUNCTYPE(None)(lambda: None)
atexit.register(print, "not called by C's exit")
libc.exit(6)
# %% output of the C library
import ctypes, os
libc = ctypes.CDLL(None)
libc.puts(b"by puts, flushed at the end")
libc.printf(b"%s %d\n", b"by printf", 7)
print("by print")
# %% pausing, and errors
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.close(999), ctypes.get_errno() == errno.EBADF, os.strerror(ctypes.get_errno()), libc.getpid() == os.getpid())
# %% sqlite3
import sqlite3
connection = sqlite3.connect(":memory:")
connection.execute("create table t (a, b)")
connection.executemany("insert into t values (?, ?)", [(1, "x"), (2, "ż")])
print(connection.execute("select * from t order by a desc").fetchall(), connection.execute("select sum(a) from t").fetchone())
with sqlite3.connect("made.db") as file: file.execute("create table t (a)")
connection.execute("select nothing")
# %% compression, hashes, encodings
import base64, bz2, gzip, hashlib, lzma, zlib
data = b"text" * 1000
for module in (zlib, bz2, lzma, gzip): print(module.__name__, len(module.compress(data)) < 100, module.decompress(module.compress(data)) == data)
print(hashlib.sha256(data).hexdigest(), hashlib.blake2b(data, digest_size=4).hexdigest(), base64.b64encode(b"\xff"), zlib.crc32(data))
# %% TLS contexts
import ssl
context = ssl.create_default_context()
print(context.verify_mode, context.check_hostname, context.minimum_version, len(ssl.RAND_bytes(8)), context.cert_store_stats()["x509"] > 0)
# %% sockets
import select, socket
ours, theirs = socket.socketpair()
ours.sendall(b"text")
print(theirs.recv(10), select.select([theirs], [], [], 0.01), socket.has_ipv6, socket.getdefaulttimeout())
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
connection, _ = server.accept()
connection.sendall(b"x"); print(client.recv(1), server.getsockname()[0], socket.getaddrinfo("localhost", 80, socket.AF_INET)[0][4])
# %% time
import calendar, datetime, time, zoneinfo
print(time.tzname, time.timezone, time.daylight, time.strftime("%Y", time.gmtime(0)), datetime.datetime.fromtimestamp(0), time.time() > 1.7e9)
print(zoneinfo.ZoneInfo("Europe/Berlin").utcoffset(datetime.datetime(2024, 7, 1)), calendar.month(2024, 2), time.process_time() >= 0)
# %% resources and identity
import os, platform, resource, sys
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_maxrss > 0, os.getpid() > 1, os.cpu_count(), len(os.sched_getaffinity(0)), os.nice(0) == os.getpriority(os.PRIO_PROCESS, 0))
print(resource.getrlimit(resource.RLIMIT_STACK), platform.python_implementation(), platform.machine(), platform.system(), os.uname().sysname)
print(os.sched_getscheduler(0), os.get_exec_path()[-1], os.path.realpath("."), os.ctermid(), os.sysconf("SC_PAGE_SIZE"))
# %% environment
import os
print(sorted((name, value) for name, value in os.environ.items() if name not in ("HOME", "PYTHONPATH", "MPLBACKEND")), os.environb[b"LANG"])
os.environ["OWN"] = "value"
print(os.popen("echo $OWN").read(), os.getenv("OWN"), os.getenv("NOTHING", "default"))
os.putenv("PUT", "x"); os.unsetenv("OWN")
print(os.popen("echo $PUT-$OWN").read())
# %% the process as the kernel sees it
import os
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
print(status["Name"], status["Threads"], status["Umask"], status["State"], status["TracerPid"], os.readlink("/proc/self/exe") == os.path.realpath(__import__("sys").executable))
print(os.getpgid(0) > 0, os.getsid(0) > 0, os.times().children_user, os.readlink("/proc/self/cwd"), open("/proc/self/comm").read())
# %% mapped memory, pipes, polls, descriptors
import fcntl, mmap, os, select
memory = mmap.mmap(-1, 4096)
memory[:4] = b"text"
child = os.fork()
if child == 0: memory[:4] = b"TEXT"; os._exit(0)
os.waitpid(child, 0)
reading, writing = os.pipe()
poll = select.epoll(); poll.register(reading, select.EPOLLIN)
os.write(writing, b"x")
print(memory[:4], poll.poll(1) == [(reading, select.EPOLLIN)], reading, writing, poll.fileno(), os.dup(0))
print(fcntl.flock(open("lock", "w"), fcntl.LOCK_EX), os.sendfile(writing, os.open(__file__, os.O_RDONLY), 0, 4))
# %% csv, xml, html, email, configuration
import configparser, csv, email.message, html, io, xml.etree.ElementTree as tree, xml.dom.minidom
print(list(csv.DictReader(io.StringIO("a,b\n1,2\n"))), tree.fromstring("<a><b x='1'/></a>")[0].attrib, html.escape("<&>"))
message = email.message.EmailMessage(); message["Subject"] = "ż"; message.set_content("text")
print(message, xml.dom.minidom.parseString("<a/>").toxml(), configparser.ConfigParser().sections())
tree.fromstring("<a>")
# %% regular expressions, text, iteration
import collections, difflib, functools, heapq, itertools, operator, pprint, re, statistics, string, textwrap
print(re.sub(r"(\w+) (\w+)", r"\2 \1", "a b"), re.findall("(?P<x>a+)", "aab a"), statistics.stdev([1, 2, 4]), textwrap.fill("word " * 20, 30))
print(collections.Counter("abca").most_common(1), list(itertools.permutations("ab")), functools.reduce(operator.add, range(5)), heapq.nsmallest(2, [3, 1, 2]))
pprint.pprint({"b": list(range(30)), "a": "x" * 100}); print(*difflib.ndiff(["a"], ["b"]), string.Template("$x").substitute(x=1))
re.compile("(")
# %% random sources differ
import os, random, secrets, subprocess, sys, uuid
code = "import os, random, secrets, uuid; print(random.random(), secrets.token_hex(), uuid.uuid4(), os.urandom(8))"
run = lambda: subprocess.run([sys.executable, "-c", code], capture_output=True).stdout
print(run() != run(), random.random() != random.random(), uuid.uuid4() != uuid.uuid4(), secrets.token_hex() != secrets.token_hex())
