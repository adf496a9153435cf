"""Prints which of the given names are modules of this Python, as a JSON list. Imports none of them."""

import json
import pkgutil
import sys

# Here `probe.rs` writes NAMES.

# Not the workspace, and not our own directories.
PATH = [path for path in sys.path if path and not path.startswith(("/workspace", "/python-interpreter"))]


def is_module(name):
    first, *rest = name.split(".")
    if first in sys.builtin_module_names:
        return not rest
    where, dotted = PATH, ""
    for part in [first, *rest]:
        dotted = f"{dotted}.{part}".strip(".")
        where = inside(dotted, where)
        if where is None:
            return False
    return True


def inside(name, where):
    """The directories of the module's own modules; None if there is no such module. (`importlib` would want its parents imported.)"""
    parts = []
    for directory in where:
        finder = pkgutil.get_importer(directory)
        spec = finder.find_spec(name) if hasattr(finder, "find_spec") else None
        if spec is not None:
            parts += spec.submodule_search_locations or []
            # Only a namespace package has parts in several directories.
            if spec.loader is not None:
                return parts
    return parts or None


print(json.dumps([name for name in NAMES if is_module(name)]))
