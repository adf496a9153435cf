"""Writes an image of this machine's Python, with the packages of an environment, in the format of `docker save`.

Arguments: the environment's `bin/python`, the image's name, and the file to write.
"""

import hashlib
import io
import json
import platform
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path

STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
# Where Debian's Python looks for packages, whatever its arguments are.
PACKAGES = f"usr/local/lib/python{sys.version_info.major}.{sys.version_info.minor}/dist-packages"
PROGRAMS = [Path("/usr/bin/python3"), Path("/usr/bin/sh"), Path("/usr/bin/bash")]
LEFT_OUT = {"test", "idlelib", "pip", "setuptools"}
LINKS = {name: f"usr/{name}" for name in ["bin", "lib", "lib64", "sbin"]}
DIRECTORIES = {"usr/lib64": 0o755, "proc": 0o755, "sys": 0o755, "dev": 0o755, "root": 0o700, "workspace": 0o755, "tmp": 0o1777}
FILES = {"etc/passwd": b"root:x:0:0::/root:/bin/sh\n", "etc/group": b"root:x:0:\n"}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def libraries(users: Iterable[Path]) -> set[Path]:
    """The shared libraries of this machine that these load."""
    said = subprocess.run(["ldd", *users], capture_output=True, text=True, check=False).stdout
    paths = {Path(word) for word in said.split() if word.startswith(("/lib", "/usr/lib")) and not word.endswith(":")}
    return {path for path in paths if path.is_file()}


def packages(python: str) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(entry.name).name in LEFT_OUT else entry


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def layer(python: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, target in LINKS.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        for name, mode in DIRECTORIES.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for name, content in FILES.items():
            add(tar, name, content)
        users = [*PROGRAMS, *STANDARD_LIBRARY.glob("lib-dynload/*.so"), *packages(python).rglob("*.so*")]
        for path in [*PROGRAMS, *libraries(users)]:
            # `/lib` is a link to `/usr/lib`, here as there.
            place = str(path).removeprefix("/")
            tar.add(path.resolve(), place if place.startswith("usr/") else f"usr/{place}")
        tar.add(STANDARD_LIBRARY, str(STANDARD_LIBRARY).removeprefix("/"), filter=kept)
        tar.add(packages(python), PACKAGES, filter=kept)
    return file.getvalue()


def main(python: str, name: str, target: str) -> None:
    content = layer(python)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["python3"]},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as tar:
        add(tar, "manifest.json", json.dumps(manifest).encode())
        add(tar, "config.json", json.dumps(config).encode())
        add(tar, "layer.tar", content)


main(*sys.argv[1:])
