"""Prints what this Python is and where its files are: a JSON object. Run without `site`, so what `site` would find is found here."""

import json
import os
import sys

executable, prefix = sys.executable, sys.prefix
# Nix starts an environment's Python by a program that names the environment so; a file of Nix's that `site` imports takes it up.
if "NIX_PYTHONPREFIX" in os.environ and "NIX_PYTHONEXECUTABLE" in os.environ:
    executable, prefix = os.environ["NIX_PYTHONEXECUTABLE"], os.environ["NIX_PYTHONPREFIX"]
# A virtual environment's, as `site` finds it up to Python 3.13.
beside = os.path.dirname(os.path.abspath(executable))
for directory in (beside, os.path.dirname(beside)):
    if os.path.isfile(os.path.join(directory, "pyvenv.cfg")):
        prefix = os.path.dirname(beside)
        break
print(
    json.dumps(
        {
            "version": sys.version_info[:3],
            "implementation": sys.implementation.name,
            "executable": executable,
            "prefixes": [prefix, sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix],
        }
    )
)
