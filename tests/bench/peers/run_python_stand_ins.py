"""Lets the server of mcp-run-python start where only PyPI and npm are reached. Argument: its folder.

Its argument parser comes from JSR, and Pyodide's wheels of micropip and pydantic from a content delivery network. The calls that are measured
use neither: stand-ins take their places.
"""

import json
import sys
from pathlib import Path

PARSER = """\
import { parseArgs as parse } from 'node:util'

export function parseArgs(args: string[], how: any): any {
  const options = Object.fromEntries(how.string.map((name: string) => [name, { type: 'string' }]))
  return { ...how.default, ...parse({ args, options, allowPositionals: true }).values }
}
"""
LOADS = "await pyodide.loadPackage(['micropip', 'pydantic'])"
PACKAGES = """\
pyodide.runPython(`
import json, sys, types
sys.modules["micropip"] = types.ModuleType("micropip")
core = sys.modules["pydantic_core"] = types.ModuleType("pydantic_core")
core.to_json = lambda value, indent, fallback: json.dumps(value, indent=indent, default=fallback).encode()
`)"""

folder = Path(sys.argv[1])
settings = json.loads((folder / "deno.jsonc").read_text())
imports = {name: place for name, place in settings["imports"].items() if not place.startswith("jsr:")}
settings["imports"] = {**imports, "@std/cli/parse-args": "./src/parseArgs.ts"}
(folder / "deno.jsonc").write_text(json.dumps(settings))
(folder / "src/parseArgs.ts").write_text(PARSER)

# The versions from npm stay those that it was released with.
lock = json.loads((folder / "deno.lock").read_text())
lock.pop("jsr", None)
lock.pop("workspace", None)
lock["specifiers"] = {name: version for name, version in lock["specifiers"].items() if not name.startswith("jsr:")}
(folder / "deno.lock").write_text(json.dumps(lock))

code = (folder / "src/runCode.ts").read_text()
assert LOADS in code, "the server is another one than expected"
(folder / "src/runCode.ts").write_text(code.replace(LOADS, PACKAGES))
