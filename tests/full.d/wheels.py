"""Packages with compiled code, each installed in an environment of its own and used once: by plain Python, by the embedded interpreter,
and by one that has imported the package ahead. Output and exit code must be the same, or the package is listed in wheels.toml with a
reason.

wheels.py DAEMON UV PLACE [PACKAGE]: PLACE is where environments are made; without a PACKAGE all of wheels/*.py.
"""

import ast
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import worlds

PYTHON = "/usr/bin/python3"
TIMEOUT = 300
INSTALLING = 900
AT_ONCE = 2
# What dependencies resolve to is what was there then.
NEWEST = "2026-12-01"
# How much of the disk the installer's cache may take before it is emptied.
CACHE = 6 << 30
WAYS = ["not preloaded", "preloaded"]


def programs():
    """Package → requirements and program. Each begins with a line of its requirements and of the package's place among PyPI's most
    downloaded."""
    found = {}
    for path in sorted(pathlib.Path(__file__).with_name("wheels").glob("*.py")):
        for part in re.split(r"^# %% ", path.read_text(), flags=re.MULTILINE)[1:]:
            title, _, source = part.partition("\n")
            requirements = title.partition(" (")[0].split()
            found[requirements[0].partition("==")[0]] = requirements, source
    return found


def imported(source):
    """The modules that a program imports at its beginning, without the standard library's."""
    names = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import):
            names += [alias.name for alias in statement.names]
    return [name for name in dict.fromkeys(names) if name.partition(".")[0] not in sys.stdlib_module_names]


def install(uv, place, requirements, modules, is_full):
    """Makes an environment; its Python."""
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(place.parent), "UV_CACHE_DIR": str(place.parent / "cache"), "UV_SYSTEM_CERTS": "1",
        "UV_NO_CONFIG": "1",
    }
    for command in (
        *([["cache", "clean", "--quiet"]] if is_full else []),
        ["venv", "--quiet", "--clear", "--python", PYTHON, str(place)],
        ["pip", "install", "--quiet", "--python", str(place), "--only-binary", ":all:", "--exclude-newer", NEWEST, *requirements],
    ):
        done = subprocess.run([uv, *command], env=environment, capture_output=True, text=True, timeout=INSTALLING)
        if done.returncode:
            raise RuntimeError(done.stderr)
    python = place / "bin/python"
    # Compiled once, by who may write there, and not at each import.
    subprocess.run([python, "-c", f"import {', '.join(modules)}"], cwd="/", env=environment | {"HOME": str(place)}, capture_output=True, timeout=INSTALLING)
    return python


def comparable(outcome):
    """Without what differs from one run to the next: addresses, where the program lies, and times with threads, as in Google's logs."""
    text = re.sub(r"0x[0-9a-f]{6,}", "0x…", outcome.stderr)
    text = re.sub(r"(?m)^([IWEF]\d{4} \d\d:\d\d:)[\d.]+ +\d+ ", r"\1… ", text)
    text = re.sub(r"/[^ \"']*/plain-\w[^/ \"']*", "/workspace", text)
    return {"exit code": outcome.exit_code, "stdout": outcome.stdout, "stderr": text}


class Wheels:
    def __init__(self, daemon, uv, place, scratch):
        self.daemon, self.uv, self.place, self.scratch = daemon, uv, place, scratch
        self.free = shutil.disk_usage(place).free

    def use(self, package, requirements, source):
        """Way → what differs from plain Python there; `plain` if plain Python fails, `failure` if something else does."""
        directory = self.place / package
        try:
            is_full = self.free - shutil.disk_usage(self.place).free > CACHE
            python = install(self.uv, directory, requirements, imported(source), is_full)
            return self.compare(package, python, source)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return {"failure": str(error)[-1000:]}
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def compare(self, package, python, source):
        scratch = self.scratch / package
        worlds.owned(scratch)
        differing, expected = {}, None
        for way, modules in zip(WAYS, ["", ",".join(imported(source))]):
            with worlds.Interpreter(self.daemon, scratch / way.replace(" ", "-"), python, "--preload", modules) as interpreter:
                if expected is None:
                    environment = interpreter.environment()
                    expected = comparable(worlds.plain(python, source, environment, scratch / f"plain-{package}", TIMEOUT))
                    if expected["exit code"] != 0 or not expected["stdout"]:
                        return {"plain": f"{expected}"[-1500:]}
                found = comparable(interpreter.run(source, TIMEOUT))
                left_out = re.findall(r"(\S+ is not preloaded: .*)", interpreter.log.read_text())
            parts = [f"{name}: plain {expected[name]!r}, in a slot {found[name]!r}" for name in found if found[name] != expected[name]]
            if parts:
                differing[way] = "; ".join(parts)[:3000]
            for line in left_out:
                worlds.say(f"  {package}: {line}")
        shutil.rmtree(scratch, ignore_errors=True)
        return differing


def main(daemon, uv, place, chosen):
    known = tomllib.loads(pathlib.Path(__file__).with_name("wheels.toml").read_text())["known"]
    everything = programs()
    packages = chosen or list(everything)
    known = [entry | {"names": [name for name in entry["names"] if name.partition(":")[0] in packages]} for entry in known]
    place.mkdir(parents=True, exist_ok=True)
    differences = {}
    with worlds.scratch() as scratch, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        wheels = Wheels(worlds.copied(daemon, scratch), uv, place, scratch)
        for package, differing in zip(packages, pool.map(lambda package: wheels.use(package, *everything[package]), packages)):
            worlds.say(f"{package}: {', '.join(differing) or 'the same'}")
            differences |= {f"{package}: {way}": text for way, text in differing.items()}
    unlisted, stale = worlds.stale_or_unlisted(differences, known)
    shutil.rmtree(place / "cache", ignore_errors=True)
    (place / "differences.json").write_text(json.dumps(differences, indent=1))
    different = len({name.partition(":")[0] for name in differences})
    worlds.say(f"{len(packages)} packages: {len(packages) - different} are the same")
    worlds.say("\n".join(unlisted + stale))
    sys.exit(bool(unlisted or stale))


if __name__ == "__main__":
    os.umask(0o022)
    main(*map(pathlib.Path, sys.argv[1:4]), sys.argv[4:])
