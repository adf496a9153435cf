"""Runs a program by plain Python and by the embedded interpreter: as the same ordinary user, with the same environment."""

import contextlib
import ctypes
import dataclasses
import fnmatch
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

# Who programs run as where root runs the tests: one with an account, as there is in a slot.
USER = 65534
START = 120
# The interpreter's default; plain Python has the same.
OPEN_FILES = 256
PR_SET_CHILD_SUBREAPER = 36


@dataclasses.dataclass
class Outcome:
    exit_code: int
    stdout: str
    stderr: str
    # Name below the working directory → content.
    files: dict


@contextlib.contextmanager
def scratch():
    """A directory that every user may look into, gone at the end."""
    os.umask(0o022)
    place = pathlib.Path(tempfile.mkdtemp(prefix="python-interpreter-mcp-full-"))
    place.chmod(0o755)
    # Orphans become children of this process, so that it can end them.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def stop(number, _):
        end_children()
        shutil.rmtree(place, ignore_errors=True)
        # Threads still wait for what they have started.
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        yield place
    finally:
        end_children()
        shutil.rmtree(place, ignore_errors=True)


def end_children():
    """Ends every process that has come from this one, whichever session it has made for itself."""
    # One that is ended may leave others.
    for _ in range(100):
        children = [int(word) for task in pathlib.Path("/proc/self/task").iterdir() for word in (task / "children").read_text().split()]
        living = []
        for child in children:
            with contextlib.suppress(OSError):
                if "\nState:\tZ" not in pathlib.Path(f"/proc/{child}/status").read_text():
                    living.append(child)
        if not living:
            return
        for child in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.05)


def copied(daemon, place):
    """A copy that every user may run: what cargo built may lie where they cannot look. Before there are threads: what one of them starts
    would have the copy open for writing, and then it cannot be run."""
    return pathlib.Path(shutil.copy(daemon, place / daemon.name))


def owned(place):
    place.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(place, USER, USER)
    return place


def as_user():
    return {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}


class Interpreter:
    """The real one, as a process of that user."""

    def __init__(self, daemon, home, python, *arguments):
        self.home = owned(home)
        self.log = self.home / "log"
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "XDG_STATE_HOME": str(home / "state")}
        command = [daemon, "interpreter", "--listen", "127.0.0.1:0", "--python", python, *arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user()
            )
        deadline = time.monotonic() + START
        while not (found := re.search(r"address=(\S+)", self.log.read_text())):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.end()
                raise RuntimeError(f"the interpreter does not start: {self.log.read_text()}")
            time.sleep(0.05)
        self.address = found[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def request(self, method, path, body=None, timeout=60):
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.decode(errors='replace')}\n{self.log.read_text()[-2000:]}")
        return content

    def run(self, source, timeout):
        request = json.dumps({"source_code": source, "timeout_seconds": timeout})
        # A call may also wait for its turn.
        answer = json.loads(self.request("POST", "/v1/execute", request, 3 * timeout + 60))
        files = {
            path.removeprefix("/workspace/"): self.request("GET", f"/v1/files/{identifier}")
            for path, identifier in answer["files"].items()
        }
        return Outcome(answer["exit_code"], answer["stdout"], answer["stderr"], files)

    def environment(self):
        """That of its programs, without what exists only in a slot."""
        answer = self.run("import json, os; print(json.dumps(dict(os.environ)))", 60)
        variables = json.loads(answer.stdout)
        # Its own draws to files, by a module that only slots have.
        variables["MPLBACKEND"] = "Agg"
        return {
            name: value for name, value in variables.items()
            if not value.startswith("/") or ":" in value or os.path.exists(value)
        }


def plain(python, source, environment, place, timeout):
    """`python3 script.py` in a fresh directory, with a session and signals of its own, as in a slot."""
    owned(place)
    home = owned(place.with_name(f"{place.name}-home"))
    script = place / "script.py"
    script.write_text(source)
    if os.geteuid() == 0:
        os.chown(script, USER, USER)
    command = ["/usr/bin/prlimit", f"--nofile={OPEN_FILES}", "--core=0", "/usr/bin/env", "--default-signal", python, "script.py"]
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            command, cwd=place, env=environment | {"HOME": str(home)}, stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=stderr, start_new_session=True, **as_user()
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = 124
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        texts = []
        for stream in (stdout, stderr):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    files = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file() and path != script and os.access(path, os.R_OK)}
    for directory in (place, home):
        shutil.rmtree(directory, ignore_errors=True)
    return Outcome(code if code >= 0 else 128 - code, *texts, files)


def stale_or_unlisted(differences, known):
    """Lines about differences that no entry of `known` explains, and about entries that explain none. `differences`: name → text."""
    patterns = [pattern for entry in known for pattern in entry["names"]]
    matches = {pattern: [name for name in differences if fnmatch.fnmatchcase(name, pattern)] for pattern in patterns}
    explained = {name for names in matches.values() for name in names}
    unlisted = [f"differs: {name}: {text}" for name, text in sorted(differences.items()) if name not in explained]
    stale = [f"listed, and does not differ: {pattern}" for pattern, names in matches.items() if not names]
    return unlisted, stale


def say(text):
    print(text, flush=True)
