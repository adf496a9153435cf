//! Programs that take all they can get: each meets a bound, and the next one finds everything as it was.

use crate::support::interpreter::Interpreter;

#[test]
fn what_the_whole_system_shares_cannot_be_used_up() {
    let interpreter = Interpreter::start();
    // Each fails as if this kernel did not have it: nothing of the slot's would bound what it takes.
    let result = interpreter.execute(
        "import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in dict(inotify_init1=(0,), shmget=(0, 4096, 0o1600), semget=(0, 1, 0o1600), msgget=(0, 0o1600)).items():
    if getattr(libc, name)(*arguments) != -1 or ctypes.get_errno() != 38: print('REACHED', name)
context = ctypes.c_ulong(0)
if libc.syscall({'x86_64': 206, 'aarch64': 0}[os.uname().machine], 1, ctypes.byref(context)) != -1: print('REACHED io_setup')
try: os.memfd_create('x'); print('REACHED memfd')
except OSError: pass
print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_SIGPENDING))
print(open('/proc/sys/net/ipv4/tcp_rmem').read().split(), open('/proc/sys/net/ipv4/tcp_wmem').read().split())",
    );
    let buffers = "['4096', '8192', '16384']";
    assert_eq!(result["stdout"], format!("(256, 256) (256, 256)\n{buffers} {buffers}\n"), "{result}");
    // The host's own networks keep theirs.
    assert!(!std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap().contains("16384\n"));
}

#[test]
fn a_program_that_takes_descriptors_does_not_fail_the_others() {
    let interpreter = Interpreter::start();
    interpreter.works();
    std::thread::scope(|scope| {
        let hoarder = scope.spawn(|| {
            interpreter.post(&serde_json::json!({ "timeout_seconds": 4, "source_code":
                "import array, socket, time
pairs = []
try:
    while True:
        pairs.append(socket.socketpair())
        for _ in range(50):
            fds = array.array('i', [0] * 200)
            pairs[-1][0].sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)], socket.MSG_DONTWAIT)
except OSError as error: print(error, flush=True)
time.sleep(99)" }))
        });
        interpreter.wait_until_busy();
        for number in 0..40 {
            assert_eq!(interpreter.execute(&format!("print({number})"))["stdout"], format!("{number}\n"));
        }
        assert_eq!(hoarder.join().unwrap().json()["exit_code"], 124);
    });
    interpreter.works();
}

#[test]
fn a_fork_bomb_gets_eagain_and_is_gone() {
    let interpreter = Interpreter::start();
    let answer = interpreter.post(&serde_json::json!({ "timeout_seconds": 2, "source_code":
        "import os, sys
while True:
    try: os.fork()
    except OSError as error:
        print(error.errno)
        while True: pass" }));
    let result = answer.json();
    assert_eq!(result["exit_code"], 124, "{result}");
    assert!(result["stdout"].as_str().unwrap().contains("11"), "EAGAIN: {result}");
    interpreter.works();
}

#[test]
fn an_endless_loop_ends_at_its_limit_with_what_it_printed() {
    let interpreter = Interpreter::start();
    for code in [
        "print('before')\nwhile True: pass",
        "import signal\nfor s in range(1, 64):\n  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, ValueError): pass\nprint('before')\nwhile True: pass",
        "print('before')\n10 ** 10 ** 10",
        "import os\nprint('before')\nos.fork() or os.setsid()\nwhile True: pass",
    ] {
        let result = interpreter.post(&serde_json::json!({ "timeout_seconds": 3, "source_code": code })).json();
        assert_eq!((result["exit_code"].as_i64(), &result["stdout"]), (Some(124), &"before\n".into()), "{result}");
        assert!(result["stderr"].as_str().unwrap().contains("Timeout: the program was stopped after 3 s"), "{result}");
        interpreter.works();
    }
}

#[test]
fn more_memory_than_there_is_for_a_process_is_a_memory_error() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute("bytearray(5 << 30)");
    let stderr = result["stderr"].as_str().unwrap();
    assert!(stderr.contains("MemoryError\nLimit: a process may use 4 GiB of address space"), "{result}");
    interpreter.works();
}

#[test]
fn a_memory_bomb_is_ended_at_its_limit() {
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_MEMORY", "512M")]);
    let result = interpreter.execute("print('before', flush=True)\nx = []\nwhile True: x.append(bytearray(16 << 20))");
    assert_eq!((&result["exit_code"], &result["stdout"]), (&137.into(), &"before\n".into()), "{result}");
    assert!(result["stderr"].as_str().unwrap().contains("its limit of 512 MiB for all its processes"), "{result}");
    interpreter.works();
}

#[test]
fn memory_that_is_shared_or_put_aside_counts_as_well() {
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_MEMORY", "256M")]);
    let let_go = "x.madvise(mmap.MADV_DONTNEED)";
    for (act, after) in [("", ""), ("", let_go), ("os.fork()", "")] {
        let program = format!(
            "import mmap, os, time\nprint('before', flush=True)\n{act}\nx = mmap.mmap(-1, 400 << 20)\n\
             for place in range(0, 400 << 20, 4096): x[place] = 1\n{after}\ntime.sleep(30)"
        );
        let result = interpreter.execute(&program);
        assert_eq!(result["exit_code"], 137, "{result}");
        assert!(result["stderr"].as_str().unwrap().contains("its limit of 256 MiB"), "{result}");
        interpreter.works();
    }
    // Siblings would be the zygote's children, and in nobody's count.
    let siblings = "import ctypes; print(ctypes.CDLL(None).syscall(56, 0x8000 | 17, 0, 0, 0, 0))";
    if cfg!(target_arch = "x86_64") {
        assert_eq!(interpreter.execute(siblings)["stdout"], "-1\n");
    }
}

#[test]
fn a_full_disk_is_enospc_over_all_writable_places_together() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "chunk = b'x' * (1 << 20)
total = 0
for path in ['/tmp/a', '/dev/shm/b', '/tmp/c', '/workspace/d']:
    try:
        with open(path, 'wb') as file:
            for _ in range(200): file.write(chunk); file.flush(); total += 1
    except OSError as error: print(error.errno)
print(400 < total <= 512)
import os; os.remove('/workspace/d')
try:
    for number in range(100000): open(f'/tmp/{number}', 'w').close()
except OSError as error: print(error.errno)",
    );
    assert_eq!(result["stdout"], "28\n28\nTrue\n28\n", "{result}");
    interpreter.works();
}

#[test]
fn a_gigabyte_of_output_is_read_and_bounded() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import sys\nchunk = 'x' * (1 << 20)\nprint('first')\nfor _ in range(1024): sys.stdout.write(chunk)\nprint('\\nlast')",
    );
    let output = result["stdout"].as_str().unwrap();
    assert_eq!(result["exit_code"], 0);
    assert!(output.starts_with("first\n") && output.ends_with("\nlast\n") && output.contains("bytes left out]"));
    assert!(output.len() < (1 << 20) + 100, "{}", output.len());
    interpreter.works();
}

#[test]
fn background_processes_do_not_delay_the_answer_and_are_gone() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(1000)
    os._exit(0)
print('parent')",
    );
    assert_eq!((result["stdout"].as_str(), result["exit_code"].as_i64()), (Some("parent\n"), Some(0)), "{result}");
    interpreter.works();
}
