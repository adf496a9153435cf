# exec, eval, compile, and names.
# %% in its own namespace
exec("x = 1\ndef f(): return x")
print(x, f(), f.__module__, eval("x + 1"), eval("__name__"), sorted(name for name in globals() if len(name) == 1))
# %% in another one
names = {}
exec("y = 2\nclass A: pass", names)
print(sorted(names), names["A"].__module__, eval("y", names), eval("a + b", {"a": 1}, {"b": 2}))
# %% errors
for source in ("1 +", "x", "1 / 0", "import no_such", "(lambda: undefined)()"):
    try: eval(source) if "import" not in source else exec(source)
    except Exception as error: print(type(error).__name__, error)
eval("1 /\n 0")
# %% compile
import ast
code = compile("print(6 * 7)", "name", "single")
exec(code); eval(code)
print(ast.dump(ast.parse("x = 1")), code.co_filename, ast.literal_eval("{'a': [1]}"))
tree = ast.parse(open(__file__).read())
print(len(tree.body))
# %% locals in functions and classes
def function():
    x = 1
    exec("x = 2; y = 3")
    return x, sorted(locals()), [locals().get("y") for _ in "a"] and None
class Body:
    x = 1
    print(sorted(name for name in locals() if not name.startswith("__firstlineno") and not name.startswith("__static")))
print(function(), vars(Body)["x"], globals()["Body"].__name__)
# %% del, global and walrus
x = 1
def function():
    global x, made
    del x
    made = 2
function()
print(made, "x" in globals(), (y := 5), y)
x
# %% matching, unpacking, formatting
match {"kind": "point", "at": [1, 2]}:
    case {"kind": "point", "at": [x, *rest]}: print(x, rest)
first, *middle, last = range(5)
print(first, middle, last, f"{last!r:>5}|{last:05.1f}|{'x':^5}|{last=}", "%-5s|" % "x", "{0:,}".format(10 ** 6))
# %% classes of all kinds
import abc, dataclasses, enum, functools, typing
@dataclasses.dataclass(order=True, frozen=True)
class Point:
    x: int
    y: list = dataclasses.field(default_factory=list)
class Color(enum.Enum): RED = 1; GREEN = enum.auto()
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
print(Point(1), Point(1) < Point(2), Color.RED, list(Color), dataclasses.asdict(Point(2, [3])), typing.get_type_hints(Point))
try: Point(1).x = 2
except dataclasses.FrozenInstanceError as error: print(repr(error))
Shape()
# %% integers and floats
print(hash(1), hash(2 ** 61 - 1), hash(1.5), hash(-1), hash(float("inf")), hash(None) == hash(None), 0.1 + 0.2, round(2.5), -7 // 2, 2 ** 100)
print(int("1" * 4000) % 97, float("nan") != float("nan"), (1).bit_length(), divmod(-7, 3), complex(1, -0.0), 1e16, 1 / 3)
print(257 is int("257"), 5 is int("5"), int("9" * 5000))
# %% hashes of text
import os, sys
seeded = os.environ.get("PYTHONHASHSEED") == "0"
print(sys.flags.hash_randomization, *[hash("x"), hash(b"y"), {"a", "b", "c", "d"}] if seeded else ["random"])
# %% random numbers
import random, secrets, uuid
random.seed(1)
print(random.random(), random.randint(1, 10 ** 9), random.sample(range(100), 5), random.gauss(0, 1))
print(random.Random(2).choices("abc", k=5), len(secrets.token_bytes(8)), uuid.UUID(int=5), uuid.uuid5(uuid.NAMESPACE_DNS, "x"))
# %% garbage collection
import gc
print(gc.isenabled(), gc.get_threshold(), gc.callbacks, gc.garbage, gc.get_debug(), gc.collect() >= 0)
class Cycle: pass
cycle = Cycle(); cycle.itself = cycle
del cycle
gc.collect()
print(sum(isinstance(thing, Cycle) for thing in gc.get_objects()), gc.is_tracked([]), len(gc.get_stats()))
# %% decimal and context variables
import contextvars, decimal, fractions
print(decimal.getcontext(), decimal.Decimal(1) / 3, len(contextvars.copy_context()), fractions.Fraction("0.25"))
decimal.getcontext().prec = 5
variable = contextvars.ContextVar("variable")
variable.set(1)
print(decimal.Decimal(1) / 7, len(contextvars.copy_context()) > 0, contextvars.copy_context().run(variable.get))
# %% pickling
import copy, pickle
class A:
    def __init__(self): self.x = 1
    class Inner: pass
def function(): pass
print(pickle.dumps(A, 0), pickle.loads(pickle.dumps(A())).x, pickle.loads(pickle.dumps(function)) is function, pickle.dumps(A.Inner, 0))
print(type(copy.deepcopy(A())).__module__, pickle.whichmodule(function, "function"))
pickle.dumps(lambda: 0)
