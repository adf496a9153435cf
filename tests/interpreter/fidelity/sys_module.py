# What the module sys says.
# %% arguments and paths
import os, sys
print(sys.argv, sys.path[0], os.getcwd(), sys.orig_argv)
print(sys.path, sys.executable, sys._base_executable, sys.prefix, sys.base_prefix, sys.exec_prefix)
# %% flags and options
import sys
print(sys.flags, sys.warnoptions, sys._xoptions, sys.dont_write_bytecode, sys.pycache_prefix)
print(sys.flags.hash_randomization, getattr(sys.flags, "safe_path", None), sys.flags.utf8_mode)
# %% hooks
import sys
for name in ["displayhook", "excepthook", "unraisablehook", "breakpointhook"]:
    print(name, getattr(sys, name), getattr(sys, name) is getattr(sys, f"__{name}__"))
finders = [finder for finder in sys.meta_path if getattr(finder, "__module__", "").startswith("_frozen_importlib")]
print(sys.gettrace(), sys.getprofile(), [finder.__name__ for finder in finders])
print([getattr(hook, "__qualname__", hook) for hook in sys.path_hooks], sys.get_asyncgen_hooks(), sys.getdlopenflags())
# %% limits and state
import sys
print(sys.getrecursionlimit(), sys.getswitchinterval(), sys.is_finalizing(), sys.int_info, sys.maxsize, sys.version)
print(getattr(sys, "get_int_max_str_digits", int)(), sys.get_coroutine_origin_tracking_depth(), sys.platform)
print([name for name in ("ps1", "ps2", "last_type", "last_value", "last_traceback", "last_exc") if hasattr(sys, name)])
print(sys.exc_info(), sys.implementation.name, sys.implementation.cache_tag, sys.float_repr_style)
# %% modules that are always there
import sys
print([name in sys.modules for name in ("__main__", "builtins", "sys", "site", "os", "encodings.utf_8", "io", "zipimport")])
print([name in sys.modules for name in ("readline", "pdb", "tkinter", "idlelib", "_pytest", "script", "sitecustomize")])
print(sys.modules["__main__"].__name__, sys.modules["sys"] is sys, [name for name in sys.modules if name.startswith("__m")])
# %% what site adds
import builtins, site
print(site.ENABLE_USER_SITE, site.USER_BASE is None, [name for name in dir(builtins) if not name.isidentifier()])
print(repr(exit), repr(quit), repr(copyright).count("\n") > 0, repr(help), license.__class__.__name__, len(dir(builtins)))
# %% the version of this Python is the one that its executable has
import subprocess, sys
code = "import sys; print(sys.version, sys.executable, sys.prefix, sys.path[1:], sys.flags)"
text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
print(text.strip() == f"{sys.version} {sys.executable} {sys.prefix} {sys.path[1:]} {sys.flags}")
# %% path entries of its own
import os, sys
os.mkdir("lib")
with open("lib/own.py", "w") as file: file.write("print(__name__, __file__, __package__, __spec__.origin)")
sys.path.insert(0, "lib")
import own
sys.path[0] = os.path.abspath("elsewhere")
try: import other
except ModuleNotFoundError as error: print(error, error.name, error.path)
