# Tools that look at the program that uses them.
# %% doctest
def function(x):
    """
    >>> function(1)
    2
    >>> function(2)
    5
    """
    return x + 1
import doctest
print(doctest.testmod())
# %% doctest that says all
def function():
    """
    >>> function()
    """
import doctest, sys
sys.exit(doctest.testmod(verbose=True).failed)
# %% unittest with a failure
import io, os, unittest
class Tests(unittest.TestCase):
    def test_right(self): self.assertEqual(1, 1)
    def test_wrong(self): self.assertEqual(1, 2)
unittest.main(testRunner=unittest.TextTestRunner(stream=open(os.devnull, "w")))
# %% unittest without one, which goes on
import io, unittest
class Tests(unittest.TestCase):
    def test_right(self): print(self.id(), type(self).__module__)
output = io.StringIO()
program = unittest.main(testRunner=unittest.TextTestRunner(stream=output), exit=False)
print(program.result, output.getvalue().splitlines()[0], program.progName)
# %% unittest that finds nothing
import os, unittest
unittest.main(argv=["x", "Missing"], testRunner=unittest.TextTestRunner(stream=open(os.devnull, "w")), exit=False)
# %% argparse
import argparse
parser = argparse.ArgumentParser(description="text")
parser.add_argument("--number", type=int)
print(parser.parse_args(), parser.prog)
parser.parse_args(["--number", "x"])
# %% help
help(int.bit_length)
def function(x: int) -> str:
    """What it does."""
help(function)
# %% help for the program itself
"""About the program."""
import pydoc
text = pydoc.render_doc(__import__("__main__"), renderer=pydoc.plaintext)
print(text.splitlines()[:8])
# %% interactive help at the end of the input
help()
# %% an interactive console at the end of the input
import code
x = 1
code.interact(local=locals())
print("goes on")
# %% a console that is fed
import code
console = code.InteractiveConsole({"__name__": "__console__"})
print(console.push("1 / 0"), console.push("def f():"), console.push("  return 2"), console.push(""), console.push("f()"))
# %% the debugger at the end of the input
import pdb
x = 1
pdb.set_trace()
y = 2
# %% a breakpoint in a function
def function():
    x = 1
    breakpoint()
    return x
function()
# %% a breakpoint on the last line
x = 1
breakpoint()
# %% the debugger with commands
import io, pdb, sys
def function(x):
    y = x + 1
    return y
debugger = pdb.Pdb(stdin=io.StringIO("step\nnext\np x, y\nwhere\nup\nlist\ncontinue\n"), stdout=sys.stdout, nosigint=True)
debugger.runcall(function, 1)
# %% after death
import io, pdb, sys
def function(): 1 / 0
try: function()
except ZeroDivisionError as error:
    debugger = pdb.Pdb(stdin=io.StringIO("where\nargs\nquit\n"), stdout=sys.stdout)
    debugger.reset()
    debugger.interaction(None, error.__traceback__)
# %% logging
import logging
print(logging.root, logging.root.handlers, logging.getLogger("x").getEffectiveLevel(), logging.lastResort)
logging.warning("first")
logging.info("hidden")
logging.getLogger("own").error("second")
try: 1 / 0
except ZeroDivisionError: logging.exception("third")
# %% logging without a handler
import logging
logging.getLogger("own").warning("by the last resort")
logging.getLogger("own").info("hidden")
logging.raiseExceptions and logging.getLogger("own").warning("%d", "no number")
# %% the names that logging gives
import logging, sys
logging.basicConfig(format="%(name)s %(levelname)s %(processName)s %(threadName)s %(module)s %(funcName)s %(message)s", stream=sys.stdout)
def function(): logging.getLogger("a.b").critical("text")
function()
print(sorted(name for name in logging.root.manager.loggerDict if name in ("a", "a.b")), logging._srcfile.endswith("logging/__init__.py"))
# %% disassembly
import dis
def function(x): return x + 1
dis.dis(function)
print(dis.code_info(function).splitlines()[:3])
# %% inspect
import inspect
def function(a, /, b: int = 1, *c, d, **e) -> None: pass
print(inspect.signature(function), inspect.getmodule(inspect.currentframe()), inspect.getmodulename(__file__), inspect.isfunction(function))
print([name for name, _ in inspect.getmembers(__import__("__main__"), inspect.isfunction)])
# %% sched, fileinput and other old friends
import fileinput, sched, shlex, time
scheduler = sched.scheduler(time.monotonic, time.sleep)
scheduler.enter(0.01, 1, print, ("scheduled",))
scheduler.run()
print(list(fileinput.input()), shlex.split("a 'b c'"))
