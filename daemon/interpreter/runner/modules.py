"""Prints those of some names that are modules of this Python's own, as a JSON list. Imports none of them."""

import importlib.machinery
import json
import sys

# Here `probe.rs` writes NAMES.


def is_module(name):
    first, *rest = name.split(".")
    if first in sys.builtin_module_names:
        return not rest
    # Not the workspace, and not our own directories.
    where, found = [path for path in sys.path if path and not path.startswith(("/workspace", "/python-interpreter"))], first
    for part in [*rest, None]:
        spec = importlib.machinery.PathFinder.find_spec(found, where)
        if spec is None:
            return False
        if part is None:
            return True
        where = spec.submodule_search_locations
        if where is None:
            return False
        # That of a namespace package looks for its parent among the imported modules.
        where, found = list(getattr(where, "_path", where)), f"{found}.{part}"


print(json.dumps([name for name in NAMES if is_module(name)]))
