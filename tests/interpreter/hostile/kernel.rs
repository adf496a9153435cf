//! Programs that look for a way out through the kernel: rare calls, other ways to make them, and the system's own programs.

use std::io::Write as _;
use std::path::Path;

use crate::support::interpreter::Interpreter;

/// Calls by their numbers, as a program would that brings its own machine code.
const RARE_CALLS: &str = "import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    if name == 'clone3' and result == 0: os._exit(0)
    if result >= 0: print('REACHED', name)
for flags in (0x10000000, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000):
    child = libc.syscall(56 if os.uname().machine == 'x86_64' else 220, flags | 17, 0, 0, 0, 0)
    if child == 0: os._exit(0)
    if child > 0: print('REACHED clone', hex(flags))
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
    call('ptrace', 101, 16, 0, 0, 0); call('process_vm_readv', 310, os.getpid(), 0, 0, 0, 0, 0); call('move_pages', 279, 0, 0, 0, 0, 0, 0)
for name, family, kind, *protocol in [('netlink', 16, 3, 15), ('packet', 17, 3), ('key', 15, 3), ('rds', 21, 5), ('can', 29, 3), ('tipc', 30, 2), ('bluetooth', 31, 3), ('rxrpc', 33, 2), ('alg', 38, 5),
                           ('nfc', 39, 3), ('vsock', 40, 1), ('kcm', 41, 2), ('qipcrtr', 42, 2), ('smc', 43, 1), ('xdp', 44, 3), ('mctp', 45, 2), ('ax25', 3, 5), ('x25', 9, 5), ('appletalk', 5, 2)]:
    try: socket.socket(family, kind, *protocol); print('REACHED', name)
    except OSError: pass";

#[test]
fn rare_calls_of_the_kernel_do_not_exist_by_their_numbers() {
    let interpreter = Interpreter::start();
    // The harmless twin: of the calls that need no privileges, at least these succeed on every kernel that this one runs on.
    let outside = interpreter.twin(RARE_CALLS);
    for name in ["add_key", "keyctl", "inotify", "memfd_create", "netlink", "clone 0x10000000"] {
        assert!(!cfg!(target_arch = "x86_64") || outside.contains(&format!("REACHED {name}")), "{name}: {outside}");
    }
    interpreter.none_succeeds(RARE_CALLS);
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
    in_a_child('upper bits ' + name, lambda: libc.syscall(ctypes.c_ulong(call), ctypes.c_ulong(0xdead_0000_0000 | argument), 3, 15))
if libc.syscall(39) != os.getpid(): print('REACHED nothing at all')";
    interpreter.none_succeeds(program);
    interpreter.is_unscathed();
}

/// What an ordinary user's own namespaces allow outside the sandbox.
const ATTEMPTS: [&str; 11] = [
    "unshare -Ur echo REACHED",
    "unshare -Urpf echo REACHED",
    "unshare -Ur unshare -n echo REACHED",
    "unshare -Urm sh -c 'mount -t tmpfs none /tmp && echo REACHED'",
    "unshare -Urm sh -c 'mount --rbind / /mnt && echo REACHED'",
    "unshare -Urm sh -c 'mount -t tmpfs none /mnt && umount -l /mnt && echo REACHED'",
    "unshare -Ur chroot / echo REACHED",
    "unshare -Uru sh -c 'hostname changed && echo REACHED'",
    "unshare -Ur setpriv --reuid 0 echo REACHED",
    "unshare -Urn ip link set lo up && echo REACHED",
    "strace -o /dev/null true && echo REACHED",
];

#[test]
fn programs_of_the_system_find_no_way_out_either() {
    let interpreter = Interpreter::start();
    let program = format!(
        "import subprocess\nfor attempt in {ATTEMPTS:?}:\n    done = subprocess.run(attempt, shell=True, capture_output=True, text=True, timeout=20)\n    if 'REACHED' in done.stdout: print('REACHED', attempt)"
    );
    interpreter.none_succeeds(&program);
    // The harmless twins: outside, each of them succeeds.
    let twins = interpreter.twin(&program);
    for attempt in ATTEMPTS {
        let missing = attempt.split([' ', '\'']).find(|word| PROGRAMS.contains(word) && !is_installed(word));
        match missing {
            Some(missing) => {
                drop(writeln!(std::io::stderr(), "passed over: there is no {missing} for the twin of {attempt:?}"))
            }
            None => {
                assert!(twins.contains(&format!("REACHED {attempt}\n")), "{attempt:?} does nothing outside: {twins}")
            }
        }
    }
    interpreter.is_unscathed();
}

const PROGRAMS: [&str; 8] = ["unshare", "mount", "umount", "chroot", "hostname", "setpriv", "ip", "strace"];

/// Where an ordinary user's PATH leads, as in [`Interpreter::twin`].
fn is_installed(program: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|place| Path::new(place).join(program).exists())
}

#[test]
fn no_program_of_another_user_gives_its_rights() {
    let interpreter = Interpreter::start();
    let result = interpreter.none_succeeds(
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
