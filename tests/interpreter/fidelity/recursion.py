# How deep programs can recurse: as deep as under Python itself, to the frame.
# %% Python functions
depth = 0
def down():
    global depth
    depth += 1
    down()
try: down()
except RecursionError as error: print(depth, error)
# %% the error's own traceback
def down(n): return down(n + 1) + 1
down(0)
# %% through calls from C
depth = 0
def down(_):
    global depth
    depth += 1
    return list(map(down, [0]))
try: down(0)
except RecursionError as error: print(depth, error)
# %% in methods, properties and operators
class A:
    depth = 0
    @property
    def x(self): A.depth += 1; return self.x
    def __getattr__(self, name): A.depth += 1; return getattr(self, name)
    def __eq__(self, other): A.depth += 1; return self == other
for act in (lambda: A().x, lambda: A().y, lambda: A() == 1):
    try: act()
    except RecursionError as error: print(A.depth, error)
    A.depth = 0
# %% repr, comparison and copies of nested lists
import copy, json, pickle
nested = []
for _ in range(100_000): nested = [nested]
other = []
for _ in range(100_000): other = [other]
for act in (repr, copy.deepcopy, json.dumps, pickle.dumps, lambda nested: nested == other, json.JSONEncoder(indent=1).encode):
    try: act(nested)
    except RecursionError as error: print(error)
# %% how deep a list can be shown
def shows(depth):
    nested = []
    for _ in range(depth): nested = [nested]
    try: return bool(repr(nested))
    except RecursionError: return False
low, high = 100, 100_000
while high - low > 1: low, high = ((low + high) // 2, high) if shows((low + high) // 2) else (low, (low + high) // 2)
print(low)
# %% the limit can be raised
import sys
print(sys.getrecursionlimit())
sys.setrecursionlimit(5000)
def down(n): return n if n == 0 else down(n - 1)
print(down(4000))
try: down(5000)
except RecursionError as error: print(error)
# %% the limit can be lowered
import sys
for limit in range(1, 30):
    try: sys.setrecursionlimit(limit)
    except RecursionError as error: print(limit, error)
    else:
        sys.setrecursionlimit(1000)
        print(limit)
        break
# %% in a thread
import threading
depth = 0
def down():
    global depth
    depth += 1
    down()
def run():
    try: down()
    except RecursionError as error: print(depth, error)
thread = threading.Thread(target=run)
thread.start(); thread.join()
# %% in a generator, exec and eval
depth = 0
def down():
    global depth
    depth += 1
    yield from down()
try: list(down())
except RecursionError as error: print(depth, error)
depth, source = 0, "depth += 1\nexec(source)"
try: exec(source)
except RecursionError as error: print(depth, error)
# %% in an atexit function
import atexit
depth = 0
def down():
    global depth
    depth += 1
    down()
def run():
    try: down()
    except RecursionError as error: print(depth, error)
atexit.register(run)
# %% deep source
for depth in (50, 99, 150, 250):
    try: print(depth, eval("(" * depth + "1" + ")" * depth))
    except (MemoryError, RecursionError, SyntaxError) as error: print(depth, repr(error)[:60])
# %% recovering from it again and again
def down(): return down()
for _ in range(50):
    try: down()
    except RecursionError: pass
print("alive")
# %% imports that are deep
import sys
for number in range(30):
    with open(f"module_{number}.py", "w") as file: file.write(f"import module_{number + 1}" if number < 29 else "value = 7")
import module_0
print(sys.modules["module_29"].value)
