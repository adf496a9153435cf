//! What the kernel tells programs is what it tells any unprivileged user: libraries catch that error, and go on.

use crate::support::interpreter::Interpreter;

#[test]
fn what_only_the_privileged_may_is_a_permission_error_as_elsewhere() {
    let interpreter = Interpreter::start();
    let program = "import ctypes, os, socket, subprocess, time
libc = ctypes.CDLL(None, use_errno=True)
def c(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) < 0: raise OSError(ctypes.get_errno(), name)
open('/tmp/an-own-file', 'w').close()
acts = dict(
    clock_settime=lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    settimeofday=lambda: c('settimeofday', ctypes.create_string_buffer(16), None),
    adjtimex=lambda: c('adjtimex', ctypes.create_string_buffer(b'\\1' + bytes(300))),
    sethostname=lambda: socket.sethostname('x'),
    setdomainname=lambda: c('setdomainname', b'x', 1),
    mount=lambda: c('mount', b'none', b'/tmp', b'tmpfs', 0, None),
    umount=lambda: c('umount2', b'/tmp', 0),
    chroot=lambda: os.chroot('/tmp'),
    unshare=lambda: c('unshare', 0x20000),
    setns=lambda: c('setns', os.open('/proc/self/ns/uts', os.O_RDONLY), 0),
    swapon=lambda: c('swapon', b'/tmp/x', 0),
    reboot=lambda: c('reboot', 0),
    acct=lambda: c('acct', None),
    setuid=lambda: os.setuid(0),
    setgid=lambda: os.setgid(12),
    seteuid=lambda: os.seteuid(0),
    setregid=lambda: os.setregid(0, 0),
    setresuid=lambda: os.setresuid(-1, 0, -1),
    setgroups=lambda: os.setgroups([12]),
    chown=lambda: os.chown('/tmp/an-own-file', 0, -1),
    chown_group=lambda: os.chown('/tmp/an-own-file', -1, 12),
    lchown=lambda: os.lchown('/tmp/an-own-file', 0, 0),
    fchown=lambda: os.fchown(os.open('/tmp/an-own-file', os.O_RDONLY), 0, 0),
    fchownat=lambda: os.chown('an-own-file', 0, 0, dir_fd=os.open('/tmp', os.O_RDONLY)),
    user=lambda: subprocess.run(['true'], user=0),
    group=lambda: subprocess.run(['true'], group=12),
    raw=lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    packet=lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
)
for name, act in acts.items():
    try: act(); print(name, 'succeeds')
    except OSError as error: print(name, error.errno)
os.chown('/tmp/an-own-file', os.getuid(), os.getgid()); os.setuid(os.getuid()); os.setresgid(-1, os.getgid(), -1)
os.remove('/tmp/an-own-file'); print('own ids are permitted')";
    let outside = interpreter.twin(program);
    assert_eq!(outside.matches(" 1\n").count(), 28, "all but the last line: {outside}");
    let result = interpreter.execute(program);
    assert_eq!(result["stdout"].as_str().unwrap(), outside, "{result}");
    interpreter.is_unscathed();
}

#[test]
fn protocols_that_do_not_exist_here_are_not_supported() {
    let interpreter = Interpreter::start();
    // EAFNOSUPPORT and EPROTONOSUPPORT, as of a kernel that is built without them.
    let result = interpreter.execute(
        "import socket
for family, kind, protocol in ((40, 1, 0), (38, 5, 0), (29, 3, 1), (2, 1, 132), (2, 1, 262), (16, 3, 15), (16, 3, 9)):
    try: socket.socket(family, kind, protocol); print('REACHED')
    except OSError as error: print(error.errno, end=' ')",
    );
    assert_eq!(result["stdout"], "97 97 97 93 93 93 93 ", "{result}");
}

#[test]
fn the_interfaces_are_those_of_a_machine_without_a_network() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import ctypes, socket
print(socket.if_nameindex(), socket.if_nametoindex('lo'))
class Interface(ctypes.Structure): pass
Interface._fields_ = [('next', ctypes.POINTER(Interface)), ('name', ctypes.c_char_p), ('flags', ctypes.c_uint), ('address', ctypes.POINTER(ctypes.c_ushort))]
libc, first = ctypes.CDLL(None, use_errno=True), ctypes.POINTER(Interface)()
print(libc.getifaddrs(ctypes.byref(first)))
found = set()
while first:
    found.add((first.contents.name.decode(), first.contents.address[0])); first = first.contents.next
print(('lo', socket.AF_INET) in found, {name for name, _ in found})
# Asking is all that is allowed: no address is added (RTM_NEWADDR), no link set up (RTM_NEWLINK).
import struct
for kind, body in ((20, struct.pack('BBBBI', 2, 8, 0, 0, 1) + struct.pack('HH4s', 8, 2, bytes([10, 0, 0, 1]))), (16, struct.pack('BxHiII', 0, 0, 1, 0, 1))):
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    link.send(struct.pack('IHHII', 16 + len(body), kind, 5, 1, 0) + body)
    answer = link.recv(4096)
    print(struct.unpack_from('HxxxxxxxxxxI', answer, 4)[0], struct.unpack_from('i', answer, 16)[0])",
    );
    assert_eq!(
        result["stdout"], "[(1, 'lo')] 1\n0\nTrue {'lo'}\n2 -1\n2 -1\n",
        "NLMSG_ERROR with EPERM for both changes: {result}"
    );
    interpreter.is_unscathed();
}
