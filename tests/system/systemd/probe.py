"""What a process may do where it is started: prints a JSON object, act by act, `true` where it succeeded. Every act is one that an
ordinary user's process may do, so that what fails in a unit fails because of the unit."""

import ctypes
import json
import mmap
import os
import pathlib
import platform
import socket
import stat
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
home, outside, own = pathlib.Path.home(), pathlib.Path("/var/log/tests"), pathlib.Path(sys.argv[1])
CLONE_NEWUSER, ADDR_NO_RANDOMIZE = 0x10000000, 0x0040000
# The smallest 32-bit program: exit(7).
OLD_PROGRAM = bytes.fromhex(
    "7f454c4601010100000000000000000002000300010000005480040834000000000000000000000034002000010000000000000001000000"
    "00000000008004080080040860000000600000000500000000100000") + bytes.fromhex("b801000000bb07000000cd80")


def call(function, *arguments):
    ctypes.set_errno(0)
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(folder):
    file = folder / f"probe-{os.getpid()}"
    file.write_text("x")
    file.unlink()


def make_group():
    group = pathlib.Path("/sys/fs/cgroup", pathlib.Path("/proc/self/cgroup").read_text().rpartition("::/")[2].strip(), "probe")
    group.mkdir()
    group.rmdir()


def make_set_user_id():
    file = own / "set-user-id"
    file.write_text("")
    try:
        file.chmod(0o4755)
    finally:
        file.unlink()


def give_to_oneself():
    file = own / "given"
    file.write_text("")
    try:
        os.chown(file, os.getuid(), os.getgid())
    finally:
        file.unlink()


def in_a_child(act):
    """For what cannot be undone."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise OSError("denied")


def run_old_program():
    file = own / "old-program"
    file.write_bytes(OLD_PROGRAM)
    file.chmod(0o700)
    try:
        if subprocess.run([file]).returncode != 7:
            raise OSError("killed")
    finally:
        file.unlink()


def find(path):
    if not pathlib.Path(path).exists():
        raise OSError("not there")


def want(is_so):
    if not is_so:
        raise OSError("not so")


def status(name):
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith(name + ":"))


def real_devices():
    return [name for name in os.listdir("/dev") if stat.S_ISBLK(os.lstat(f"/dev/{name}").st_mode) or name in ("fuse", "kvm", "kmsg", "rtc0")]


ACTS = {
    "write to its own state": lambda: write(own),
    "write beside the home": lambda: write(outside),
    "write in the home": lambda: write(home),
    "see others' temporary files": lambda: find("/tmp/python-interpreter-probe"),
    "see devices": lambda: want(real_devices()),
    "make a control group": make_group,
    "set kernel variables": lambda: want(not os.statvfs("/proc/sys").f_flag & os.ST_RDONLY),
    "tell users apart": lambda: want(os.stat("/").st_uid == 0),
    "make a namespace": lambda: in_a_child(lambda: call(libc.unshare, CLONE_NEWUSER)),
    "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "open a packet family": lambda: socket.socket(40, socket.SOCK_STREAM).close(),
    "open an Internet socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
    "make a set-user-id program": make_set_user_id,
    "change its personality": lambda: in_a_child(lambda: call(libc.personality, ADDR_NO_RANDOMIZE)),
    "map writable code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "call what is privileged": give_to_oneself,
    "change its priority": lambda: in_a_child(lambda: os.nice(1)),
    "gain privileges": lambda: want(status("NoNewPrivs") == "0"),
    "have capabilities to gain": lambda: want(int(status("CapBnd"), 16) != 0),
    "dump core": lambda: want(open("/proc/self/limits").read().split("Max core file size")[1].split()[1] != "0"),
    "leave files open to others": lambda: want(os.umask(0o022) & 0o077 != 0o077),
}
if platform.machine() == "x86_64":
    ACTS["call as another architecture"] = run_old_program


def attempt(act):
    try:
        act()
    except OSError:
        return False
    return True


done = {name: attempt(act) for name, act in ACTS.items()}
# The same name means the same thing, which is shared.
done["session keyring"] = libc.syscall({"x86_64": 250, "aarch64": 219}[platform.machine()], 0, -3, 0)
done["mounts"] = os.readlink("/proc/self/ns/mnt")
# What the unit forbids is as if it did not exist; what only root may do is denied.
ctypes.set_errno(0)
libc.syscall({"x86_64": 167, "aarch64": 224}[platform.machine()], b"/nonexistent", 0)
done["a call that needs root"] = os.strerror(ctypes.get_errno())
(own / "probed.json").write_text(json.dumps(done))
