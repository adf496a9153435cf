//! Attacks on the sandbox, each with a harmless twin that shows that the same act succeeds outside.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use crate::support::interpreter::{Interpreter, am_root};
use crate::support::processes::{descendants, signal};
use crate::support::{passed_over, until};
use rustix::process::Signal;

/// Runs an attack that prints REACHED where it succeeds: it must outside, and must not in a slot.
fn denied(interpreter: &Interpreter, attack: &str) {
    let outside = interpreter.twin(attack);
    assert!(outside.contains("REACHED"), "the twin must succeed outside: {outside}");
    let result = interpreter.execute(attack);
    assert!(!result["stdout"].as_str().unwrap().contains("REACHED"), "{result}");
    interpreter.works();
}

#[test]
fn the_users_files_do_not_exist() {
    let interpreter = Interpreter::start();
    let secret = interpreter.private_file("secret", "REACHED");
    denied(&interpreter, &format!("print(open({:?}).read())", secret.display()));
    let home = interpreter.home.path().display();
    denied(&interpreter, &format!("import os; print('REACHED' if 'secret' in os.listdir('{home}') else '')"));
    denied(&interpreter, &format!("import os; os.chmod('{home}/secret', 0o600); print('REACHED')"));
    denied(&interpreter, &format!("open('{home}/written', 'w').close(); print('REACHED')"));
}

#[test]
fn the_rest_of_the_host_does_not_exist() {
    let interpreter = Interpreter::start();
    for path in [
        "/etc/shadow",
        "/etc/machine-id",
        "/var",
        "/sys/kernel",
        "/sys/class",
        "/sys/fs",
        "/sys/devices/pci0000:00",
        "/home",
        "/boot",
        "/opt",
        "/dev/tty",
        "/run",
    ] {
        if std::path::Path::new(path).exists() {
            denied(&interpreter, &format!("import os; os.lstat({path:?}); print('REACHED')"));
        }
    }
}

#[test]
fn what_is_shown_of_the_host_is_read_only() {
    let interpreter = Interpreter::start();
    let program = "import os
for path in ['/x', '/usr/x', '/etc/x', '/dev/x', '/proc/sys/kernel/domainname', '/etc/passwd', '/bin/sh']:
    try:
        open(path, 'a').close()
        print('REACHED', path)
    except OSError as error:
        print(error.errno)
for path in ['/workspace', '/tmp', '/dev/shm']:
    open(path + '/x', 'w').close()
    print('written')";
    let result = interpreter.execute(program);
    let output = result["stdout"].as_str().unwrap();
    assert!(!output.contains("REACHED") && output.matches("written").count() == 3, "{result}");
}

#[test]
fn the_environment_is_not_passed_on() {
    let interpreter = Interpreter::start_with(&[("SECRET_TOKEN", "hunter2")]);
    let attack = "import glob, os
for path in ['/proc/self/environ', '/proc/1/environ', f'/proc/{os.getppid()}/environ'] + glob.glob('/proc/[0-9]*/environ'):
    try:
        if b'hunter2' in open(path, 'rb').read(): print('REACHED')
    except OSError: pass
print('looked', sorted(os.environ))";
    assert!(interpreter.twin(attack).contains("REACHED"), "the interpreter's own environment has it");
    let result = interpreter.execute(attack);
    let output = result["stdout"].as_str().unwrap();
    assert!(output.contains("looked") && !output.contains("REACHED") && !output.contains("XDG_"), "{result}");
}

#[test]
fn other_processes_are_neither_seen_nor_signalled() {
    let interpreter = Interpreter::start();
    let id = interpreter.id();
    denied(&interpreter, &format!("import os; os.kill({id}, 0); print('REACHED')"));
    let result = interpreter.execute("import os; print(sorted(p for p in os.listdir('/proc') if p.isdigit()))");
    assert_eq!(result["stdout"], "['1', '2']\n");
    for attack in ["os.kill(1, 9)", "os.kill(-1, 9)", "os.killpg(0, 9)"] {
        interpreter.execute(&format!("import os\n{attack}"));
        interpreter.works();
    }
}

#[test]
fn the_slots_first_process_cannot_be_read_or_traced() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import ctypes, os
for path in ['/proc/1/mem', '/proc/1/environ', '/proc/1/fd/3', '/proc/1/root/etc/passwd']:
    try:
        open(path, 'rb').read(1)
        print('REACHED', path)
    except OSError: pass
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, 1, 0, 0) == 0: print('REACHED ptrace')
print('tried')",
    );
    assert_eq!(result["stdout"], "tried\n");
}

#[test]
fn there_is_no_network_but_its_own_loopback() {
    let interpreter = Interpreter::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    denied(
        &interpreter,
        &format!("import socket; socket.create_connection(('127.0.0.1', {port}), 5); print('REACHED')"),
    );
    let result = interpreter.execute(
        "import socket
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].send(b'own loopback'); print(client.recv(99).decode())
for address in [('1.1.1.1', 53), ('169.254.169.254', 80), ('10.0.0.1', 80)]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try: socket.socket(socket.AF_INET, kind).connect(address); print('REACHED')
        except OSError as error: print(error.errno)
try: socket.getaddrinfo('example.com', 80); print('REACHED')
except OSError: pass",
    );
    let output = result["stdout"].as_str().unwrap();
    assert!(output.starts_with("own loopback\n") && !output.contains("REACHED"), "{result}");
    assert_eq!(output.matches("101").count(), 6, "network is unreachable, every time: {result}");
}

#[test]
fn the_users_sockets_cannot_be_connected_to() {
    let interpreter = Interpreter::start();
    let path = interpreter.home.path().join("agent.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    std::os::unix::fs::chown(&path, Some(interpreter.user()), None).unwrap();
    denied(&interpreter, &connect(&format!("{:?}", path.display().to_string())));

    let name = format!("python-interpreter-test-{}", std::process::id());
    let abstract_name = rustix::net::SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
    let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &abstract_name).unwrap();
    rustix::net::listen(&socket, 8).unwrap();
    denied(&interpreter, &connect(&format!("'\\0{name}'")));
}

#[test]
fn our_own_sockets_cannot_be_connected_to() {
    let interpreter = Interpreter::start();
    // Bound where its own would be, by the name that the program could know.
    let directory = interpreter.home.path().join("python-interpreter-mcp");
    std::fs::create_dir_all(&directory).unwrap();
    for name in ["mcp.sock", "interpreter.sock"] {
        let path = directory.join(name);
        let _ = std::fs::remove_file(&path);
        let _listener = UnixListener::bind(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(interpreter.user()), None).unwrap();
        std::os::unix::fs::chown(&directory, Some(interpreter.user()), None).unwrap();
        denied(&interpreter, &connect(&format!("{:?}", path.display().to_string())));
    }
}

fn connect(address: &str) -> String {
    format!("import socket; socket.socket(socket.AF_UNIX).connect({address}); print('REACHED')")
}

#[test]
fn calls_that_reach_the_kernels_depths_do_not_exist() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
calls = dict(unshare=272, mount=165, umount2=166, pivot_root=155, chroot=161, setns=308, ptrace=101, bpf=321,
             userfaultfd=323, perf_event_open=298, io_uring_setup=425, add_key=248, keyctl=250, kexec_load=246,
             init_module=175, open_tree=428, clone3=435, process_vm_readv=310, open_by_handle_at=304, memfd_secret=447)
if os.uname().machine == 'x86_64':
    for name, number in calls.items():
        ctypes.set_errno(0)
        expected = 38 if name in ('clone3', 'io_uring_setup', 'memfd_secret') else 1
        if libc.syscall(number, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != expected: print('REACHED', name, ctypes.get_errno())
if libc.clone(0, 0, 0x10000000, 0) > 0: print('REACHED clone')
for family, protocol in ((16, 4), (16, 15), (17, 0), (33, 0), (38, 0), (40, 0)):
    try: socket.socket(family, socket.SOCK_RAW, protocol); print('REACHED', family)
    except OSError: pass
print('tried')",
    );
    assert_eq!(result["stdout"], "tried\n", "{result}");
}

#[test]
fn it_has_no_capabilities_and_cannot_gain_any() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "status = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
print(*(status[name].strip() for name in ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp']))",
    );
    let none = "0000000000000000";
    assert_eq!(result["stdout"], format!("{none} {none} {none} {none} {none} 1 2\n"));
}

#[test]
fn landlock_forbids_what_mounts_and_users_would_allow() {
    let interpreter = Interpreter::start();
    // A device needs a privilege that nobody here has, for want of which the kernel says EPERM. Landlock is asked before, and says
    // EACCES, which nothing else does in a directory of one's own.
    denied(
        &interpreter,
        "import errno, os, stat, tempfile
said = None
try: os.mknod(tempfile.mkdtemp() + '/device', stat.S_IFCHR | 0o600, os.makedev(1, 3))
except OSError as error: said = error.errno
print('' if said == errno.EACCES else 'REACHED')",
    );
}

#[test]
fn a_program_has_a_session_of_its_own() {
    let interpreter = Interpreter::start();
    let code = "import os; print(os.getsid(0) == os.getpgrp() == os.getpid())";
    assert_eq!(interpreter.execute(code)["stdout"], "True\n");
    let cold = serde_json::json!({ "source_code": code, "env": { "PYTHONHASHSEED": "1" } });
    assert_eq!(interpreter.post(&cold).json()["stdout"], "True\n");
}

#[test]
fn only_three_descriptors_are_open() {
    let interpreter = Interpreter::start();
    let result = interpreter
        .execute("import os\nfor fd in range(3, 1024):\n  try: os.fstat(fd); print(fd)\n  except OSError: pass");
    assert_eq!(result["stdout"], "", "{result}");
}

#[test]
fn a_caller_that_hangs_up_takes_its_program_along() {
    let interpreter = Interpreter::start();
    interpreter.works();
    let body = br#"{"source_code": "while True: pass"}"#;
    let stream = interpreter.send("POST", "/v1/execute", &["Content-Type: application/json"], body);
    interpreter.wait_until_busy();
    drop(stream);
    interpreter.wait_until_empty();
    interpreter.works();
}

#[test]
fn what_a_program_does_to_its_output_stays_data() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os, sys
os.write(1, b'\\x00\\xff\\x1b[31m{\"jsonrpc\":\"2.0\"}\\n')
sys.stderr.buffer.write('\\udc80\\ud800'.encode('utf-8', 'surrogatepass'))
for fd in range(3, 300):
    try: os.write(fd, b'{\"Exited\":{\"Code\":0}}')
    except OSError: pass
os.close(0); os.close(1); os.close(2); os._exit(7)",
    );
    assert_eq!(result["exit_code"], 7);
    assert_eq!(result["stdout"], "\0\u{fffd}\u{1b}[31m{\"jsonrpc\":\"2.0\"}\n");
    interpreter.works();
}

#[test]
fn as_root_programs_are_nobody() {
    if !am_root() {
        return passed_over("only root can start the interpreter as root");
    }
    let interpreter = Interpreter::start_as(0, &[]);
    let result = interpreter.execute("import os; print(os.getuid(), os.getgid(), os.getgroups())");
    assert_eq!(result["stdout"], "1000 1000 []\n", "{result}");
    let own = "import os; os.system('echo out > /dev/stdout'); open('/dev/stderr', 'w').write('err')";
    let result = interpreter.execute(own);
    assert_eq!((result["stdout"].as_str(), result["stderr"].as_str()), (Some("out\n"), Some("err")), "{result}");
    denied(&interpreter, "open('/proc/sys/kernel/core_pattern', 'a'); print('REACHED')");
    // The kernel exempts root's processes from the limit on their number: nobody's are bounded.
    let bomb = "import os\ntry:\n  for _ in range(10000):\n    if os.fork() == 0: __import__('time').sleep(99)\nexcept OSError as error: print(error.errno)";
    assert_eq!(interpreter.execute(bomb)["stdout"], "11\n");
    interpreter.works();
}

#[test]
fn killing_the_interpreter_ends_everything_it_started() {
    let interpreter = Interpreter::start();
    interpreter.works();
    let id = interpreter.id();
    let body = br#"{"source_code": "while True: pass"}"#;
    let mut stream = interpreter.send("POST", "/v1/execute", &["Content-Type: application/json"], body);
    interpreter.wait_until_busy();
    let started = descendants(id);
    signal(id, Signal::KILL);
    let gone = |id: u32| std::fs::read_to_string(format!("/proc/{id}/stat")).map_or(true, |stat| stat.contains(") Z "));
    until("all of them are gone", || started.iter().all(|process| gone(*process)));
    let _ = stream.flush();
    let _ = stream.read(&mut [0]);
}
