"""CPython's own tests, each module run by plain Python and as a program of the embedded interpreter. The outcome of each test must be
the same, or be listed in cpython.toml with a reason.

cpython.py DAEMON PLACE [MODULE]: PLACE holds a Python with its tests; without a MODULE all that cpython.toml names.
"""

import concurrent.futures
import json
import pathlib
import sys
import tomllib

import worlds

TIMEOUT = 400
AT_ONCE = 3
# A difference of these runs in a row is one: tests that wait for a time may fail once.
RUNS = 3
# As wide as CPython's own tests need; none of them is what is tested here.
LIMITS = ["--timeout", str(TIMEOUT), "--memory", "4G", "--total-memory", "14G", "--workspace", "2G", "--file-size", "16G"]
ORDER = ["pass", "expected failure", "skip", "unexpected success", "fail", "error"]

PROGRAM = """
import os, sys, unittest

def main():
    from test import support
    # No network, and nothing that is slow for its size alone.
    support.use_resources = ['subprocess', 'decimal', 'curses', 'walltime']
    kept = open('outcomes.txt', 'w', buffering=1)

    class Outcomes(unittest.TestResult):
        def keep(self, test, outcome):
            kept.write(outcome + '\\t' + test.id().replace('\\n', ' ') + '\\n')
        def startTest(self, test):
            super().startTest(test)
            self.keep(test, 'start')
        def addSuccess(self, test):
            self.keep(test, 'pass')
        def addError(self, test, error):
            self.keep(test, 'error')
            self.show(test, error)
        def addFailure(self, test, error):
            self.keep(test, 'fail')
            self.show(test, error)
        def addSkip(self, test, reason):
            self.keep(test, 'skip')
            sys.__stdout__.write(f'{test.id()}: skip: {reason}\\n')
        def addExpectedFailure(self, test, error):
            self.keep(test, 'expected failure')
        def addUnexpectedSuccess(self, test):
            self.keep(test, 'unexpected success')
        def addSubTest(self, test, subtest, error):
            super().addSubTest(test, subtest, error)
            if error is not None:
                self.keep(test, 'fail' if issubclass(error[0], test.failureException) else 'error')
                self.show(subtest, error)
        def show(self, test, error):
            text = self._exc_info_to_string(error, test)
            sys.__stdout__.write(f'{test.id()}: {text}\\n')

    unittest.defaultTestLoader.loadTestsFromName("test." + MODULE).run(Outcomes())
    kept.write('end\\t' + MODULE + '\\n')
    sys.stdout.flush()
    os._exit(0)

if __name__ == '__main__':
    main()
"""


def program(module):
    return f"MODULE = {module!r}\n{PROGRAM}"


def outcomes(result):
    """Test → outcome, the worst if there are several. A test that did not come to its end has `no end`."""
    found = {}
    for line in result.files.get("outcomes.txt", b"").decode(errors="replace").splitlines():
        outcome, _, name = line.partition("\t")
        if outcome == "start":
            found.setdefault(name, "no end")
        elif outcome != "end":
            worst = max([outcome, found.get(name)], key=lambda one: ORDER.index(one) if one in ORDER else -1)
            found[name] = worst
    return found


class Comparison:
    def __init__(self, interpreter, python, logs, scratch):
        self.interpreter, self.python, self.logs, self.scratch = interpreter, python, logs, scratch
        self.environment = interpreter.environment()
        self.count = 0

    def of(self, module):
        """Test → the two outcomes where they differ, and how many tests there are."""
        self.count += 1
        place = self.scratch / f"plain-{self.count}"
        expected = worlds.plain(self.python, program(module), self.environment, place, TIMEOUT)
        found = self.interpreter.run(program(module), TIMEOUT)
        for name, result in ("plain", expected), ("slot", found):
            (self.logs / f"{module}.{name}").write_text(f"{result.exit_code}\n{result.stdout}\n--- stderr\n{result.stderr}")
        plain, slot = outcomes(expected), outcomes(found)
        differing = {
            name: (plain.get(name, "none"), slot.get(name, "none"))
            for name in sorted(plain.keys() | slot.keys())
            if plain.get(name) != slot.get(name)
        }
        if (expected.exit_code, found.exit_code) != (0, 0) and expected.exit_code != found.exit_code:
            differing[module] = (f"exit {expected.exit_code}", f"exit {found.exit_code}")
        return differing, len(plain)


def main(daemon, place, chosen):
    data = tomllib.loads(pathlib.Path(__file__).with_name("cpython.toml").read_text())
    modules = chosen or data["modules"]
    known = [entry | {"names": [name for name in entry["names"] if name.split(".")[1] in modules]} for entry in data["known"]]
    python, logs = next((place / "usr/bin").glob("python3.*")), place / "logs"
    logs.mkdir(exist_ok=True)
    with worlds.scratch() as scratch:
        with worlds.Interpreter(worlds.copied(daemon, scratch), scratch / "home", python, *LIMITS) as interpreter:
            comparison = Comparison(interpreter, python, logs, scratch)
            differing, counts = {}, {}
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                for module, (found, count) in zip(modules, pool.map(comparison.of, modules)):
                    differing[module], counts[module] = found, count
                    worlds.say(f"{module}: {count} tests, {len(found)} differ")
            # Alone, so that what depends on the time has all of it.
            for module in modules:
                for _ in range(RUNS - 1):
                    unlisted, _ = judged(differing[module], known)
                    if not unlisted:
                        break
                    again, _ = comparison.of(module)
                    differing[module] = {name: pair for name, pair in differing[module].items() if again.get(name) == pair}
    everything = {name: pair for found in differing.values() for name, pair in found.items()}
    unlisted, stale = judged(everything, known)
    (place / "differences.json").write_text(json.dumps(everything, indent=1))
    same = sum(not differing[module] for module in modules)
    worlds.say(f"{len(modules)} modules with {sum(counts.values())} tests: {same} modules are the same, {len(everything)} tests differ")
    worlds.say("\n".join(unlisted + stale))
    sys.exit(bool(unlisted or stale))


def judged(differing, known):
    return worlds.stale_or_unlisted({name: f"plain {pair[0]}, in a slot {pair[1]}" for name, pair in differing.items()}, known)


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:])
