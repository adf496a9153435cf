//! Programs that look for what is the user's or the machine's: sockets, secrets, networks, terminals, settings of the kernel.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use crate::support::interpreter::Interpreter;
use crate::support::until;

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
    interpreter.none_succeeds(&connect(&[ours, paths].concat()));
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
    interpreter.none_succeeds(&look.replace("NAMES", &format!("{names:?}")));
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
    interpreter.none_succeeds(&connect(&targets));

    let send = format!(
        "import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.sendto(b'REACHED', ('127.0.0.1', {}))",
        datagrams.local_addr().unwrap().port()
    );
    interpreter.twin(&send);
    let mut buffer = [0; 99];
    until("the twin's datagram arrives", || datagrams.recv(&mut buffer).is_ok());
    interpreter.execute(&send);
    assert!(datagrams.recv(&mut buffer).is_err(), "the program's does not");
    interpreter.none_succeeds(
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
fn there_is_no_terminal_to_type_into_but_its_own() {
    let interpreter = Interpreter::start();
    interpreter.none_succeeds(
        "import ctypes, fcntl, os, termios
for path in ('/dev/tty', '/dev/console', '/dev/pts/0', '/dev/tty0', '/dev/vcs', '/dev/input/event0', '/dev/kmsg', '/dev/mem', '/dev/fuse', '/dev/kvm', '/dev/net/tun', '/dev/loop0', '/dev/mapper/control'):
    try: os.open(path, os.O_RDWR); print('REACHED', path)
    except OSError: pass
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p]
for fd in range(3):
    for command in (termios.TIOCSTI, 0x541C, 0x1_0000_5412, 0xffff_ffff_0000_5412): # TIOCSTI and TIOCLINUX, also with bits that the kernel ignores.
        if libc.ioctl(fd, command, b'x') == 0 or ctypes.get_errno() != 1: print('REACHED', fd, hex(command), ctypes.get_errno())
    if os.isatty(fd): print('REACHED a terminal')
# A slot's terminals are counted for itself, and few.
if os.listdir('/dev/pts') != ['ptmx']: print('REACHED', os.listdir('/dev/pts'))
opened = []
try:
    while len(opened) < 200: opened.append(os.openpty())
except OSError: pass
if not 4 < len(opened) < 64 or os.ttyname(opened[0][1]) != '/dev/pts/0': print('REACHED', len(opened), 'terminals')
for fd in opened[0]:
    if libc.ioctl(fd, termios.TIOCSTI, b'x') == 0: print('REACHED by typing')
    # The discipline that it has already: setting it succeeds outside.
    if libc.ioctl(fd, 0x5423, bytes(4)) == 0: print('REACHED line disciplines')
if os.tcgetpgrp.__name__ and libc.tcgetsid(0) >= 0: print('REACHED a session')",
    );
    interpreter.is_unscathed();
    let twin = "import fcntl, os; print(fcntl.ioctl(os.openpty()[1], 0x5423, bytes(4)) == bytes(4))";
    let output = std::process::Command::new("/usr/bin/python3").args(["-c", twin]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "True\n", "the act succeeds outside");
}

#[test]
fn what_the_kernel_shows_of_the_host_cannot_be_written() {
    let interpreter = Interpreter::start();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    interpreter.none_succeeds(
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
mounts = {}
for line in open('/proc/self/mountinfo'):
    place, options = line.split()[4:6]
    mounts[place] = options.split(',') + line.split(' - ')[1].split()[2].split(',') # The last one at a place is what is there.
for place, options in mounts.items():
    if 'ro' not in options and place not in ('/workspace', '/tmp', '/dev/shm') and not place.startswith(('/dev/', '/proc/key')): print('REACHED', place, options)
    if 'nosuid' not in options: print('REACHED suid', place)",
    );
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);
    interpreter.is_unscathed();
}
