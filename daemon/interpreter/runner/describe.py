"""Prints this Python's version and directories as a JSON object. Runs without `site`, so it does here what `site` would do."""

import importlib.util
import json
import os
import sys

executable, prefix = sys.executable, sys.prefix
# In an environment of Nix, a wrapper starts Python with these variables, and a file that `site` imports evaluates them.
if "NIX_PYTHONPREFIX" in os.environ and "NIX_PYTHONEXECUTABLE" in os.environ:
    executable, prefix = os.environ["NIX_PYTHONEXECUTABLE"], os.environ["NIX_PYTHONPREFIX"]
# A virtual environment, as `site` finds it up to Python 3.13.
beside = os.path.dirname(os.path.abspath(executable))
for directory in (beside, os.path.dirname(beside)):
    if os.path.isfile(os.path.join(directory, "pyvenv.cfg")):
        prefix = os.path.dirname(beside)
        break
prefixes = [prefix, sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
# Below each prefix, in the order of `site`.
threading = "t" if "t" in sys.abiflags else ""
versioned = f"python{sys.version_info[0]}.{sys.version_info[1]}{threading}"
print(
    json.dumps(
        {
            "version": sys.version_info[:3],
            "implementation": sys.implementation.name,
            "cache_tag": sys.implementation.cache_tag or "",
            "magic": list(importlib.util.MAGIC_NUMBER),
            "executable": executable,
            "prefixes": prefixes,
            "packages": [f"{one}/{library}/{versioned}/site-packages" for one in prefixes for library in (sys.platlibdir, "lib")],
        }
    )
)
