"""Tries to break out of its slot, and prints a JSON object: protection → whether it holds."""

import errno
import json
import os
import socket

# The kernel's messages about devices. Outside of a slot everyone may receive them.
NETLINK_KOBJECT_UEVENT = 15

# Here `probe.rs` writes PORT, on which the host listens, and PRIVATE: directories that must be hidden → names in them that may be visible,
# because they lead to Python.


def fails(act, *arguments):
    try:
        act(*arguments)
    except OSError:
        return True
    return False


def refusal(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        return error.errno
    return None


def status():
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def interfaces():
    with open("/proc/self/net/dev") as file:
        return [line.split(":")[0].strip() for line in file if ":" in line]


def only_three_descriptors():
    # The listing itself has a descriptor open.
    return all(int(name) <= 3 for name in os.listdir("/proc/self/fd"))


def shows_private_files():
    return any(os.path.lexists(path) and set(os.listdir(path)) - set(names) for path, names in PRIVATE.items())


own = status()
held = {
    "files": not shows_private_files() and fails(open, "/etc/passwd", "a") and fails(os.mkdir, "/new"),
    "processes": {name for name in os.listdir("/proc") if name.isdigit()} <= {"1", str(os.getpid())},
    "network": interfaces() == ["lo"] and fails(socket.create_connection, ("127.0.0.1", PORT), 1),
    "capabilities": all(int(own[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")),
    "no_new_privileges": own["NoNewPrivs"] == "1",
    # No program may make a device. Landlock is checked first, and answers EACCES. (The device must not be 0:0, which everyone may make:
    # kernels differ in whether Landlock treats it as a device.)
    "landlock": refusal(os.mknod, "/tmp/device", 0o020600, os.makedev(1, 3)) == errno.EACCES,
    "seccomp": own["Seccomp"] == "2" and fails(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT),
    "descriptors": only_three_descriptors(),
    "user": os.getuid() == os.geteuid() == 1000,
}
print(json.dumps(held))
