# Warnings.
# %% of kinds that are shown here and kinds that are not
import warnings
for kind in (UserWarning, DeprecationWarning, PendingDeprecationWarning, ResourceWarning, ImportWarning, FutureWarning):
    warnings.warn(kind.__name__, kind)
# %% with further levels of the stack
import warnings
warnings.warn("one", stacklevel=1)
warnings.warn("two", stacklevel=2)
warnings.warn("three", stacklevel=3)
def function(): warnings.warn("from a function", stacklevel=2)
function()
def deeper(): warnings.warn("from further", stacklevel=9)
deeper()
# %% once for each place
import warnings
for _ in range(3): warnings.warn("in a loop")
warnings.warn("in a loop")
print(sorted(__warningregistry__)[:1], [name for name in globals() if "warn" in name])
# %% deprecations in modules
with open("helper.py", "w") as file: file.write("import warnings\ndef old(level): warnings.warn('old', DeprecationWarning, level)\n")
import helper
helper.old(1)
helper.old(2)
# %% filters from the start
import warnings
print(*warnings.filters, sep="\n")
print(warnings.defaultaction, warnings.onceregistry, warnings.showwarning)
# %% filters of its own
import warnings
warnings.filterwarnings("ignore", "hidden"); warnings.simplefilter("error", DeprecationWarning)
warnings.warn("hidden")
warnings.warn("shown")
warnings.warn("raised", DeprecationWarning)
# %% caught
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warnings.warn("text")
print([(str(one.message), one.category, one.filename, one.lineno, one.line) for one in caught])
# %% a file that was not closed
open("x", "w")
def function(): open("y", "w")
function()
print("no warning")
# %% a file that was not closed, with the warning shown
import warnings
warnings.simplefilter("default")
open("x", "w")
kept = open("y", "w")
# %% where allocation is traced
import tracemalloc, warnings
tracemalloc.start()
warnings.simplefilter("default")
open("x", "w")
# %% from the compiler
x = "\d"
print(1 is 1, x)
assert (1, "always true")
# %% from the compiler, for code that is made later
import warnings
compile("'\d'", "own name", "exec")
exec("1 is 1")
warnings.simplefilter("error")
try: compile("'\d'", "own name", "exec")
except SyntaxError as error: print(error)
# %% from the compiler, for a module
with open("helper.py", "w") as file: file.write("x = '\\\\d'\ny = 1 is 1\n")
import helper
# %% that a function is deprecated
import warnings, typing, unittest, asyncio, logging
logging.getLogger().warn("old")
asyncio.iscoroutinefunction(print)
# %% to a stream of its own
import sys, warnings
warnings.showwarning = lambda *arguments: print(arguments[:4])
warnings.warn("text")
sys.stderr = None
warnings.showwarning = warnings._showwarning_orig
warnings.warn("nowhere")
# %% with a source that is no file
import warnings
warnings.warn_explicit("text", UserWarning, "elsewhere.py", 7, module="elsewhere", source=None)
print(warnings.formatwarning("text", UserWarning, "script.py", 2))
