//! Programs that look for a way out: the user's sockets and secrets, the network, the terminal, and rare parts of the kernel.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/interpreter.rs"]
mod interpreter;

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use interpreter::Interpreter;
use serde_json::Value;

/// Runs a program in a slot that says which of its acts succeeded; none must, and the program comes to its end.
fn none_succeeds(interpreter: &Interpreter, program: &str) -> Value {
    let result = interpreter.execute(&format!("{program}\nprint('tried')"));
    let output = result["stdout"].as_str().unwrap();
    assert!(output.ends_with("tried\n") && !output.contains("REACHED"), "{result}");
    result
}

/// A socket that stands for one of the user's, where its user can connect to it.
fn listen(interpreter: &Interpreter, name: &str) -> (PathBuf, UnixListener) {
    let path = interpreter.home.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    for path in path.ancestors().take_while(|path| path.starts_with(interpreter.home.path())) {
        chown(path, Some(interpreter.user()), Some(interpreter.user())).unwrap();
    }
    (path, listener)
}

#[test]
fn the_users_agents_and_buses_cannot_be_connected_to() {
    let interpreter = Interpreter::start();
    let mut paths: Vec<String> = [
        "/run/dbus/system_bus_socket",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/systemd/private",
        "/dev/log",
        "/run/systemd/journal/socket",
        "/tmp/.X11-unix/X0",
    ]
    .map(str::to_owned)
    .into();
    let user = interpreter.user();
    paths.extend(
        ["bus", "systemd/private", "gnupg/S.gpg-agent", "pulse/native", "wayland-0", "podman/podman.sock"]
            .map(|name| format!("/run/user/{user}/{name}")),
    );
    let fakes = ["bus", "ssh-agent/agent.1", "docker.sock", "gnupg/S.gpg-agent", "keyring/control"]
        .map(|name| listen(&interpreter, name));
    let datagram = interpreter.home.path().join("log");
    let _log = UnixDatagram::bind(&datagram).unwrap();
    chown(&datagram, Some(user), None).unwrap();
    let connect = |paths: &[String]| {
        format!(
            "import os, socket
for path in {paths:?}:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        for way in (path, '/proc/self/root' + path, '/proc/1/root' + path, '../../../../..' + path):
            try: socket.socket(socket.AF_UNIX, kind).connect(way); print('REACHED', path)
            except OSError: pass"
        )
    };
    // The harmless twin: outside, each of the stand-ins is there.
    let ours: Vec<String> =
        fakes.iter().map(|(path, _)| path).chain([&datagram]).map(|path| path.display().to_string()).collect();
    let outside = interpreter.twin(&connect(&ours));
    assert!(ours.iter().all(|path| outside.contains(&format!("REACHED {path}"))), "{outside}");
    none_succeeds(&interpreter, &connect(&[ours, paths].concat()));
    interpreter.is_unscathed();
}

#[test]
fn addresses_and_keys_in_the_interpreters_environment_are_not_passed_on() {
    let secrets = [
        ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus"),
        ("SSH_AUTH_SOCK", "/run/user/1000/ssh-agent"),
        ("DOCKER_HOST", "unix:///run/user/1000/docker.sock"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2-aws"),
        ("OPENAI_API_KEY", "hunter2-api"),
        ("LD_PRELOAD", "/usr/lib/hunter2.so"),
        ("PYTHONPATH", "/hunter2"),
        ("PYTHONSTARTUP", "/hunter2"),
        ("http_proxy", "http://hunter2@127.0.0.1:1"),
    ];
    let interpreter = Interpreter::start_with(&secrets);
    let look = "import os, sys
found = repr(os.environ) + repr(sys.path)
for process in os.listdir('/proc'):
    if process.isdigit():
        for name in ('environ', 'cmdline', 'mountinfo', 'stat', 'status', 'maps', 'cgroup'):
            try: found += open(f'/proc/{process}/{name}').read()
            except OSError: pass
for name in NAMES:
    if name in os.environ: print('REACHED', name)
if 'hunter2' in found or 'ssh-agent' in found or 'docker.sock' in found: print('REACHED', found)";
    let names: Vec<_> = secrets.iter().map(|(name, _)| *name).filter(|name| *name != "PYTHONPATH").collect();
    none_succeeds(&interpreter, &look.replace("NAMES", &format!("{names:?}")));
    interpreter.is_unscathed();
}

#[test]
fn neither_the_hosts_loopback_nor_other_networks_are_reached_over_ipv6_and_udp() {
    let interpreter = Interpreter::start();
    let four = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let six = TcpListener::bind("[::1]:0").ok();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let mut targets = vec![("127.0.0.1".to_owned(), port(&four))];
    if let Some(six) = &six {
        targets.push(("::1".to_owned(), port(six)));
        targets.push(("::ffff:127.0.0.1".to_owned(), port(&four)));
    }
    let connect = |targets: &[(String, u16)]| {
        let list: Vec<_> = targets.iter().map(|(host, port)| format!("({host:?}, {port})")).collect();
        format!(
            "import socket
for host, port in [{}]:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(5)
        try: connection.connect((host, port)); print('REACHED', host)
        except OSError: pass",
            list.join(", ")
        )
    };
    let outside = interpreter.twin(&connect(&targets));
    assert_eq!(outside.matches("REACHED").count(), targets.len(), "{outside}");
    let far = [
        "169.254.169.254",
        "fd00:ec2::254",
        "fe80::1",
        "2606:4700:4700::1111",
        "100.100.100.200",
        "192.168.0.1",
        "255.255.255.255",
        "224.0.0.251",
        "ff02::fb",
        "0.0.0.0",
        "::",
    ];
    targets.extend(far.map(|host| (host.to_owned(), 80)));
    none_succeeds(&interpreter, &connect(&targets));

    let send = format!(
        "import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.sendto(b'REACHED', ('127.0.0.1', {}))",
        datagrams.local_addr().unwrap().port()
    );
    interpreter.twin(&send);
    let mut buffer = [0; 99];
    interpreter::wait_until("the twin's datagram arrives", || datagrams.recv(&mut buffer).is_ok());
    interpreter.execute(&send);
    assert!(datagrams.recv(&mut buffer).is_err(), "the program's does not");
    none_succeeds(
        &interpreter,
        "import os, socket
for name in ('example.com', 'metadata.google.internal', 'host.docker.internal', '_gateway', 'localhost.localdomain.example'):
    try: socket.getaddrinfo(name, 80); print('REACHED', name)
    except OSError: pass
for act in (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53)), lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
            lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)):
    try: act(); print('REACHED')
    except OSError: pass
if os.path.exists('/proc/net/tcp') and len(open('/proc/net/tcp').readlines()) > 1: print('REACHED', open('/proc/net/tcp').read())
if 'eth' in open('/proc/net/dev').read() or len(open('/proc/net/unix').readlines()) > 1: print('REACHED the list')",
    );
    interpreter.is_unscathed();
}

#[test]
fn there_is_no_terminal_to_type_into() {
    let interpreter = Interpreter::start();
    none_succeeds(
        &interpreter,
        "import ctypes, fcntl, os, termios
for path in ('/dev/tty', '/dev/console', '/dev/ptmx', '/dev/pts/0', '/dev/pts/ptmx', '/dev/tty0', '/dev/vcs', '/dev/input/event0', '/dev/kmsg', '/dev/mem', '/dev/fuse', '/dev/kvm', '/dev/net/tun', '/dev/loop0', '/dev/mapper/control'):
    try: os.open(path, os.O_RDWR); print('REACHED', path)
    except OSError: pass
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p]
for fd in range(3):
    for command in (termios.TIOCSTI, 0x541C, 0x1_0000_5412, 0xffff_ffff_0000_5412): # TIOCSTI and TIOCLINUX, also with bits that the kernel ignores.
        if libc.ioctl(fd, command, b'x') == 0 or ctypes.get_errno() != 38: print('REACHED', fd, hex(command), ctypes.get_errno())
    if os.isatty(fd): print('REACHED a terminal')
try: os.openpty(); print('REACHED a terminal of its own')
except OSError: pass
if os.tcgetpgrp.__name__ and libc.tcgetsid(0) >= 0: print('REACHED a session')",
    );
    interpreter.is_unscathed();
}

/// Calls by their numbers, as a program would that brings its own machine code.
const RARE_CALLS: &str = "import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *arguments) >= 0: print('REACHED', name)
    return ctypes.get_errno()
key, value = ctypes.create_string_buffer(b'user'), ctypes.create_string_buffer(b'value')
if os.uname().machine == 'x86_64':
    call('add_key', 248, key, b'python-interpreter-test', value, 5, -2)   # To the process's own keyring.
    call('keyctl', 250, 0, -3, 0)                                         # The session's keyring.
    call('request_key', 249, key, b'x', None, -2)
    call('inotify', 294, 0)
    call('memfd_create', 319, b'x', 0)
    call('personality', 135, 0x0040000)
    call('clone3', 435, ctypes.create_string_buffer(88), 88)
    call('unshare', 272, 0x10000000)
    call('userfaultfd', 323, 1)
    call('io_uring_setup', 425, 1, ctypes.create_string_buffer(120))
    call('fanotify', 300, 0, 0); call('name_to_handle', 303, -100, b'/', ctypes.create_string_buffer(b'\\x80\\0\\0\\0' + bytes(200)), ctypes.create_string_buffer(8), 0)
    call('kcmp', 312, os.getpid(), os.getpid(), 1, 0, 0)
    call('pidfd_getfd', 438, os.pidfd_open(os.getpid()), 0, 0)
    call('process_madvise', 440, os.pidfd_open(os.getpid()), 0, 0, 20, 0)
    call('fsopen', 430, b'tmpfs', 0); call('open_tree', 428, -100, b'/', 1); call('mount', 165, b'x', b'/tmp', b'tmpfs', 0, None); call('umount', 166, b'/tmp', 2)
    call('pivot_root', 155, b'/', b'/'); call('chroot', 161, b'/tmp'); call('setns', 308, os.pidfd_open(os.getpid()), 0x10000000); call('swapon', 167, b'/tmp/x', 0)
    call('bpf', 321, 0, ctypes.create_string_buffer(b'\\2\\0\\0\\0\\4\\0\\0\\0\\4\\0\\0\\0\\1' + bytes(60)), 72); call('perf', 298, ctypes.create_string_buffer(128), 0, -1, -1, 0)
    call('kexec_load', 246, 0, 0, 0, 0); call('init_module', 175, b'', 0, b''); call('finit_module', 313, 0, b'', 0); call('delete_module', 176, b'x', 0)
    call('syslog', 103, 3, value, 5); call('acct', 163, None); call('quotactl', 179, 0, 0, 0, 0); call('sethostname', 170, b'x', 1); call('settimeofday', 164, None, value)
    call('iopl', 172, 3); call('ioperm', 173, 0, 1, 1); call('modify_ldt', 154, 1, value, 5); call('reboot', 169, 0, 0, 0, 0); call('vhangup', 153); call('lookup_dcookie', 212, 0, 0, 0)
    call('ptrace', 101, 16, 0, 0, 0); call('process_vm_readv', 310, os.getpid(), 0, 0, 0, 0, 0); call('move_pages', 279, 0, 0, 0, 0, 0, 0); call('mq_open', 240, b'x', 0o102, 0o600, None)
for name, family, kind in [('netlink', 16, 3), ('packet', 17, 3), ('key', 15, 3), ('rds', 21, 5), ('can', 29, 3), ('tipc', 30, 2), ('bluetooth', 31, 3), ('rxrpc', 33, 2), ('alg', 38, 5),
                           ('nfc', 39, 3), ('vsock', 40, 1), ('kcm', 41, 2), ('qipcrtr', 42, 2), ('smc', 43, 1), ('xdp', 44, 3), ('mctp', 45, 2), ('ax25', 3, 5), ('x25', 9, 5), ('appletalk', 5, 2)]:
    try: socket.socket(family, kind); print('REACHED', name)
    except OSError: pass
for flags in (0x10000000, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000):
    child = libc.syscall(56 if os.uname().machine == 'x86_64' else 220, flags | 17, 0, 0, 0, 0)
    if child == 0: os._exit(0)
    if child > 0: print('REACHED clone', hex(flags))";

#[test]
fn rare_calls_of_the_kernel_do_not_exist_by_their_numbers() {
    let interpreter = Interpreter::start();
    // The harmless twin: of the calls that need no privileges, at least these succeed on every kernel that this one runs on.
    let outside = interpreter.twin(RARE_CALLS);
    for name in ["add_key", "keyctl", "inotify", "memfd_create", "netlink", "clone 0x10000000"] {
        assert!(!cfg!(target_arch = "x86_64") || outside.contains(&format!("REACHED {name}")), "{name}: {outside}");
    }
    none_succeeds(&interpreter, RARE_CALLS);
    interpreter.is_unscathed();
}

#[test]
#[cfg(target_arch = "x86_64")]
fn other_ways_of_calling_the_kernel_lead_no_further() {
    let interpreter = Interpreter::start();
    // The 32-bit table of calls by `int 0x80`, in which 310 is unshare, and the x32 one, whose numbers have bit 30.
    let program = "import ctypes, mmap, os
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
def machine_code(*code_bytes):
    code.seek(0); code.write(bytes(code_bytes))
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
def number(value): return list(value.to_bytes(4, 'little'))
def in_a_child(name, act):
    reading, writing = os.pipe()
    if os.fork() == 0:
        try: os.write(writing, b'%d' % act())
        finally: os._exit(0)
    os.close(writing)
    answer = os.read(reading, 20)
    status = os.wait()[1]
    if answer and int(answer) >= 0: print('REACHED', name, answer)
    return status
ID, UNSHARE = 0xb8, 0xbb # mov eax, …; mov ebx, …
for name, call, argument in (('getpid', 20, 0), ('unshare', 310, 0x10000000)):
    in_a_child('int 0x80 ' + name, machine_code(0x53, ID, *number(call), UNSHARE, *number(argument), 0xcd, 0x80, 0x5b, 0xc3))
libc = ctypes.CDLL(None)
for name, call, argument in (('getpid', 39, 0), ('unshare', 272, 0x10000000), ('ptrace', 521, 0)):
    in_a_child('x32 ' + name, lambda: libc.syscall(0x40000000 | call, argument, 0, 0, 0))
for name, call, argument in (('unshare', 272, 0x10000000), ('socket', 41, 16)):
    in_a_child('upper bits ' + name, lambda: libc.syscall(ctypes.c_ulong(call), ctypes.c_ulong(0xdead_0000_0000 | argument), 3, 0))
if libc.syscall(39) != os.getpid(): print('REACHED nothing at all')";
    none_succeeds(&interpreter, program);
    interpreter.is_unscathed();
}

#[test]
fn programs_of_the_system_find_no_way_out_either() {
    let interpreter = Interpreter::start();
    let attempts = [
        "unshare -Ur echo REACHED",
        "unshare -Urmpf --mount-proc echo REACHED",
        "unshare -n echo REACHED",
        "mount -t tmpfs none /tmp && echo REACHED",
        "mount --bind / /tmp && echo REACHED",
        "umount -l /workspace && echo REACHED",
        "umount /proc/keys && echo REACHED",
        "mount -o remount,rw / && echo REACHED",
        "chroot /tmp echo REACHED",
        "chroot / echo REACHED",
        "nsenter -t 1 -m echo REACHED",
        "nsenter -t 1 -a echo REACHED",
        "su -c 'echo REACHED'",
        "sudo -n echo REACHED",
        "pkexec echo REACHED",
        "setpriv --reuid 0 echo REACHED",
        "newgrp root && echo REACHED",
        "bwrap --bind / / echo REACHED",
        "docker ps && echo REACHED",
        "systemd-run --user echo REACHED",
        "systemctl --user status && echo REACHED",
        "dbus-send --session --dest=org.freedesktop.DBus / x.y && echo REACHED",
        "dmesg && echo REACHED",
        "swapoff -a && echo REACHED",
        "insmod /x && echo REACHED",
        "modprobe loop && echo REACHED",
        "losetup -f && echo REACHED",
        "ping -c1 -W1 127.0.0.1 && false",
        "hostname changed && echo REACHED",
        "date -s 2001-01-01 && echo REACHED",
        "renice -n -5 $$ && echo REACHED",
        "chown 0 /workspace && echo REACHED",
        "passwd -d root && echo REACHED",
        "crontab -l && echo REACHED",
        "mknod /tmp/d b 8 0 && echo REACHED",
        "ip link add dummy0 type dummy && echo REACHED",
        "strace -o /dev/null true && echo REACHED",
        "gdb -p 1 -batch && echo REACHED",
        "prlimit --nofile=100000 true && echo REACHED",
        "setcap cap_sys_admin+ep /tmp/x && echo REACHED",
    ];
    let program = format!(
        "import subprocess\nfor attempt in {attempts:?}:\n    done = subprocess.run(attempt, shell=True, capture_output=True, text=True, timeout=20)\n    if 'REACHED' in done.stdout: print('REACHED', attempt)"
    );
    none_succeeds(&interpreter, &program);
    // The harmless twin: outside, an unprivileged user has namespaces of their own, as this interpreter needs them.
    if Path::new("/usr/bin/unshare").exists() {
        assert_eq!(interpreter.twin("import os\nos.system('unshare -Ur echo REACHED')"), "REACHED\n");
    }
    interpreter.is_unscathed();
}

#[test]
fn what_the_kernel_shows_of_the_host_cannot_be_written() {
    let interpreter = Interpreter::start();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    none_succeeds(
        &interpreter,
        "import glob, os
paths = ['/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname', '/proc/sys/kernel/modprobe', '/proc/sys/vm/drop_caches', '/proc/self/uid_map', '/proc/self/gid_map',
         '/proc/self/setgroups', '/proc/self/oom_score_adj', '/proc/self/attr/current', '/proc/1/mem', '/proc/1/oom_score_adj', '/proc/kcore', '/proc/mtrr', '/proc/acpi/wakeup', '/proc/bus/pci/devices', '/proc/timer_list',
         '/proc/kallsyms', '/proc/self/ns/user', '/sys/kernel/debug', '/sys/fs/cgroup/cgroup.procs', '/proc/self/cwd/../etc/passwd', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/user/max_user_namespaces']
paths += glob.glob('/proc/sys/kernel/*') + glob.glob('/proc/sys/fs/*') + glob.glob('/proc/*/clear_refs')
for path in paths:
    try:
        with open(path, 'r+b', buffering=0) as file: print('REACHED', path)
    except OSError: pass
for path in ('/proc/keys', '/proc/key-users', '/proc/kmsg', '/proc/1/environ', '/proc/1/stack', '/proc/self/stack'):
    try:
        if open(path).read(1): print('REACHED', path)
    except OSError: pass
for line in open('/proc/self/mountinfo'):
    place, options = line.split()[4:6]
    both = options.split(',') + line.split(' - ')[1].split()[2].split(',')
    if 'ro' not in both and place not in ('/workspace', '/tmp', '/dev/shm') and not place.startswith(('/dev/', '/proc/key')): print('REACHED', place, options)
    if 'nosuid' not in options.split(','): print('REACHED suid', place)",
    );
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);
    interpreter.is_unscathed();
}

#[test]
fn no_program_of_another_user_gives_its_rights() {
    let interpreter = Interpreter::start();
    let result = none_succeeds(
        &interpreter,
        "import glob, os, stat, subprocess
raising = [path for place in ('/usr/bin/*', '/usr/sbin/*', '/usr/lib/*/*', '/usr/libexec/*') for path in glob.glob(place) if os.path.isfile(path) and os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID)]
print(len(raising))
import shutil
shutil.copy('/usr/bin/id', '/tmp/id'); os.chmod('/tmp/id', 0o6755)
ids = subprocess.run(['/tmp/id'], capture_output=True, text=True).stdout
if 'uid=0' in ids or 'euid' in ids: print('REACHED', ids)
print(subprocess.run(['/tmp/id', '-un'], capture_output=True, text=True).stdout.strip())
status = open('/proc/self/status').read()
if 'NoNewPrivs:\\t1' not in status or os.getresuid() != (os.getuid(),) * 3 or os.getuid() == 0: print('REACHED', os.getresuid())",
    );
    assert!(result["stdout"].as_str().unwrap().contains("\nuser\n"), "the program that was copied runs: {result}");
    interpreter.is_unscathed();
}
