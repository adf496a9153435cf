# Importing: from the workspace, from archives, again, and what hides what.
# %% a module that the program wrote
with open("helper.py", "w") as file: file.write("print(__name__, __file__, __package__, sorted(globals()))\nvalue = 5\n")
import helper
print(helper.value, helper, helper.__spec__, type(helper.__loader__).__name__)
# %% a package
import os
os.makedirs("package/inner")
open("package/__init__.py", "w").write("from . import inner\nfrom .inner.leaf import value\n")
open("package/inner/__init__.py", "w").close()
open("package/inner/leaf.py", "w").write("from ... import package as up\nvalue = __name__\n")
try: import package
except ImportError as error: print(error)
open("package/inner/leaf.py", "w").write("from .. import inner\nvalue = __name__, inner.__name__\n")
import sys
for name in list(sys.modules):
    if name.startswith("package"): del sys.modules[name]
import package
print(package.value, package, package.__path__)
# %% an archive
import sys, zipfile
with zipfile.ZipFile("archive.zip", "w") as archive: archive.writestr(zipfile.ZipInfo("zipped.py"), "value = __file__\ndef fail(): 1 / 0\n")
sys.path.insert(0, "archive.zip")
import zipped
print(zipped.value, type(zipped.__loader__).__name__)
zipped.fail()
# %% again
import importlib
open("helper.py", "w").write("value = 1")
import helper
open("helper.py", "w").write("value = 22")
print(importlib.reload(helper) is helper, helper.value)
# %% resources
import importlib.resources, os
os.mkdir("package")
open("package/__init__.py", "w").close()
open("package/data.txt", "w").write("content")
print((importlib.resources.files("package") / "data.txt").read_text(), sorted(p.name for p in importlib.resources.files("package").iterdir()))
# %% metadata of what is installed
import importlib.metadata
try: importlib.metadata.version("no-such-package")
except importlib.metadata.PackageNotFoundError as error: print(error)
print(importlib.util.find_spec("no_such_module"), importlib.util.find_spec("json").origin)
# %% a module of its own hides one of the standard library
for name in ("colorsys", "this", "antigravity", "statistics", "random", "json", "copy", "queue", "token"):
    with open(f"{name}.py", "w") as file: file.write(f"own = 'own {name}'\n")
    print(getattr(__import__(name), "own", "the standard library's"))
# %% a package of its own hides one that is installed
import os
for name in ("numpy", "pandas", "matplotlib", "PIL", "yaml"):
    os.mkdir(name)
    with open(f"{name}/__init__.py", "w") as file: file.write(f"own = 'own {name}'\n")
    print(getattr(__import__(name), "own", "the installed one"))
# %% a module of its own with the name of the script
import script
print(script.__name__, script is not __import__("__main__"))
# %% what is not there
try: import no_such_module
except ModuleNotFoundError as error: print(repr(error), error.name, error.path)
try: from os import nothing
except ImportError as error: print(error.name, str(error).split(" (")[0])
import no_such_module.inner
# %% circular imports
open("one.py", "w").write("import two\nfrom two import value\n")
open("two.py", "w").write("import one\none.missing\nvalue = 1\n")
import one
# %% lazily, in functions and in threads
import threading
def function():
    import colorsys
    print(colorsys.rgb_to_hsv(0, 0, 0))
threads = [threading.Thread(target=function) for _ in range(2)]
for thread in threads: thread.start(); thread.join()
# %% finders and hooks of its own
import importlib.abc, importlib.machinery, sys
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        print("asked for", name, path)
        if name == "made_up": return importlib.machinery.ModuleSpec(name, self)
    def exec_module(self, module): module.value = 7
sys.meta_path.insert(0, Finder())
import made_up
print(made_up.value, made_up)
try: import never
except ImportError as error: print(error)
# %% removed and imported anew
import sys, json
first = json
del sys.modules["json"]
import json
print(json is first, json.loads("[1]"))
# %% bytecode is not written
import os
open("helper.py", "w").write("value = 1")
import helper
print(sorted(os.listdir()), helper.__cached__)
# %% __import__ replaced
import builtins
original = builtins.__import__
def own(name, *arguments):
    if name in ("colorsys", "zlib"): print("importing", name)
    return original(name, *arguments)
builtins.__import__ = own
import colorsys, zlib
# %% running other files
import runpy, sys
open("other.py", "w").write("import sys\nprint(__name__, __file__, sys.argv, __spec__)\nresult = 1\nif __name__ == '__main__': sys.exit(3)\n")
print(sorted(name for name in runpy.run_path("other.py") if not name.startswith("__")))
try: runpy.run_path("other.py", run_name="__main__")
except SystemExit as error: print(error.code)
try: runpy.run_module("other", run_name="__main__", alter_sys=True)
except SystemExit as error: print(error.code, sys.argv, sys.modules["__main__"].__file__)
exec(open("other.py").read(), {"__name__": "exec", "__file__": "none", "__spec__": 0})
# %% a module that another is to do without
import sys
sys.modules["_datetime"] = sys.modules["_json"] = None
import datetime, json
print(hasattr(datetime, "_divide_and_round"), json.decoder.c_scanstring, json.loads("[1]"))
del sys.modules["_datetime"], sys.modules["datetime"]
import datetime as again
print(again is datetime, hasattr(again, "_divide_and_round"))
# %% a module in the place of one that another uses
import sys, types
sys.modules["_random"] = own = types.ModuleType("_random")
own.Random = type("Random", (), {"seed": lambda *_: print("seeded"), "random": lambda _: 0.5, "getrandbits": None})
import random
print(random.random(), random.uniform(2, 4))
