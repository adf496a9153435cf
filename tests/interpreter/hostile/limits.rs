//! Programs that take memory in every way there is, crash, or try to lift their own limits.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::interpreter::{Interpreter, LEFT_BEHIND};
use serde_json::{Value, json};

/// With a small limit for the memory of all processes of an execution together.
fn with_little_memory() -> Interpreter {
    Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_MEMORY", "512M")])
}

/// It was ended because of its memory, and says so.
fn ended_for_its_memory(result: &Value) -> bool {
    let names_it = |line: &str| line.starts_with("Killed: ") && line.contains("memory");
    result["exit_code"] == 137 && result["stderr"].as_str().unwrap().lines().any(names_it)
}

fn got_a_memory_error(result: &Value) -> bool {
    result["exit_code"] == 1 && result["stderr"].as_str().unwrap().contains("MemoryError")
}

#[test]
fn memory_spread_over_many_processes_is_limited_together() {
    let interpreter = with_little_memory();
    let result = interpreter.run_for(
        40.0,
        "import os, time
reading, writing = os.pipe()
for _ in range(40):
    if os.fork() == 0:
        kept = bytearray(b'x') * (100 << 20)
        os.write(writing, b'x')
        time.sleep(1000)
for number in range(40): os.read(reading, 1)
print('all of them have it', flush=True)
time.sleep(5)",
    );
    assert!(ended_for_its_memory(&result), "{result}");
    interpreter.is_unscathed();
}

#[test]
fn memory_of_one_process_is_limited() {
    let interpreter = with_little_memory();
    for code in [
        "x = []\nwhile True: x.append(b'x' * (8 << 20) + str(len(x)).encode())",
        "x = []\nwhile True: x.append([len(x)] * 1000)",
        "x = 'x'\nwhile True: x += x",
        "import mmap\nm = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1\nprint('REACHED')",
        "import mmap\nm = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nfor i in range(0, 1 << 30, 4096): m[i] = 1\nprint('REACHED')",
    ] {
        let result = interpreter.run_for(40.0, code);
        let reached = result["stdout"].as_str().unwrap().contains("REACHED");
        let cannot_map = result["stderr"].as_str().unwrap().contains("Cannot allocate memory");
        assert!(!reached, "{code}: {result}");
        assert!(ended_for_its_memory(&result) || got_a_memory_error(&result) || cannot_map, "{code}: {result}");
    }
    interpreter.is_unscathed();
}

#[test]
fn memory_in_files_is_limited() {
    let interpreter = with_little_memory();
    for place in ["/dev/shm", "/tmp", "/workspace"] {
        let code = format!(
            "chunk, total = b'x' * (1 << 20), 0
for number in range(20):
    with open(f'{place}/{LEFT_BEHIND}' + str(number), 'wb') as file:
        try:
            for _ in range(100): file.write(chunk); total += 1
        except OSError as error: print(error.errno); break
print(total)
import os
for number in range(20):
    try: os.remove(f'{place}/{LEFT_BEHIND}' + str(number))
    except OSError: pass"
        );
        let result = interpreter.run_for(40.0, &code);
        let output = result["stdout"].as_str().unwrap();
        assert!(output.starts_with("28\n") || ended_for_its_memory(&result), "{place}: {result}");
    }
    // Files and processes together, each less than its own limit.
    let result = interpreter.run_for(
        40.0,
        "import time
with open('/tmp/x', 'wb') as file:
    for _ in range(200): file.write(b'x' * (1 << 20))
kept = []
for number in range(450): kept.append(bytearray(b'x') * (1 << 20))
print('REACHED', flush=True)
time.sleep(5)",
    );
    let reached = result["stdout"].as_str().unwrap().contains("REACHED") && result["exit_code"] == 0;
    assert!(!reached && (ended_for_its_memory(&result) || got_a_memory_error(&result)), "{result}");
    interpreter.is_unscathed();
}

#[test]
fn memory_without_a_name_cannot_be_made() {
    let interpreter = Interpreter::start();
    let attack = "import ctypes, os
try: os.memfd_create('x'); print('REACHED memfd')
except OSError as error: print(error.errno)
if os.uname().machine == 'x86_64' and ctypes.CDLL(None).syscall(447, 0) >= 0: print('REACHED memfd_secret')";
    assert!(interpreter.twin(attack).contains("REACHED memfd"));
    assert_eq!(interpreter.execute(attack)["stdout"], "38\n");
    interpreter.is_unscathed();
}

#[test]
fn a_memory_bomb_does_not_fail_the_others() {
    let interpreter = with_little_memory();
    std::thread::scope(|scope| {
        let bomb = "x = []\nwhile True: x.append(b'x' * (4 << 20) + str(len(x)).encode())";
        let bombs: Vec<_> = (0..2).map(|_| scope.spawn(|| interpreter.run_for(30.0, bomb))).collect();
        for number in 0..30 {
            assert_eq!(interpreter.execute(&format!("print({number})"))["stdout"], format!("{number}\n"));
        }
        for bomb in bombs {
            let result = bomb.join().unwrap();
            assert!(ended_for_its_memory(&result) || got_a_memory_error(&result), "{result}");
        }
    });
    interpreter.is_unscathed();
}

#[test]
fn a_file_that_is_too_large_is_an_error_or_a_signal() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os, subprocess
with open('/tmp/x', 'wb') as file:
    try:
        for _ in range(300): file.write(b'x' * (1 << 20)); file.flush()
    except OSError as error: print(error.errno, file.tell() >> 20)
for size in (1 << 40, 1 << 60):
    try: os.truncate('/tmp/x', size)
    except OSError as error: print(error.errno)
os.remove('/tmp/x')
print(subprocess.run(['dd', 'if=/dev/zero', 'of=/tmp/x', 'bs=1M', 'count=300'], stderr=subprocess.DEVNULL).returncode)",
    );
    assert_eq!(result["stdout"], "27 256\n27\n27\n-25\n", "EFBIG, and SIGXFSZ where it is not caught: {result}");
    interpreter.is_unscathed();
}

#[test]
fn crashes_have_their_signals_exit_code_and_leave_no_core() {
    let interpreter = Interpreter::start();
    let listed = |path: &Path| -> BTreeSet<_> {
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let places = [Path::new("/"), Path::new("/tmp"), interpreter.home.path()];
    let cores = |found: &BTreeSet<std::ffi::OsString>| {
        found.iter().filter(|name| name.to_string_lossy().starts_with("core")).cloned().collect::<BTreeSet<_>>()
    };
    interpreter.works();
    let before = places.map(|path| cores(&listed(path)));
    let prepare = "import ctypes, faulthandler, os, resource, signal, sys
try: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)); print('REACHED')
except (ValueError, OSError): pass
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
os.system('ulimit -c unlimited 2>/dev/null && echo REACHED')";
    for (crash, exit_code) in [
        ("ctypes.string_at(0)", 139),
        ("ctypes.memset(id(None), 255, 1 << 40)", 139),
        ("ctypes.CFUNCTYPE(None)(0)()", 139),
        ("os.abort()", 134),
        ("os.kill(os.getpid(), signal.SIGQUIT)", 131),
        ("os.kill(os.getpid(), signal.SIGILL)", 132),
        ("os.kill(os.getpid(), signal.SIGBUS)", 135),
        ("os.kill(os.getpid(), signal.SIGSYS)", 159),
        ("sys.setrecursionlimit(10 ** 9); f = lambda _: list(map(f, [0])); f(0)", 139),
        ("os.close(0); os.close(1); os.close(2); ctypes.string_at(0)", 139),
        ("os._exit(99)", 99),
    ] {
        let result = interpreter.execute(&format!("{prepare}\n{crash}"));
        // Newer versions of Python notice a recursion in C before it reaches the end of the stack.
        let noticed = crash.contains("recursion") && result["exit_code"] == 1;
        assert!(result["exit_code"] == exit_code || noticed, "{crash}: {result}");
        assert_eq!((&result["stdout"], &result["files"]), (&json!(""), &json!({})), "{crash}: {result}");
    }
    interpreter.is_unscathed();
    assert_eq!(places.map(|path| cores(&listed(path))), before);
}

#[test]
fn limits_can_be_lowered_but_not_raised_and_only_for_the_program_itself() {
    let interpreter = Interpreter::start();
    let attack = "import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
names = sorted(name for name in dir(resource) if name.startswith('RLIMIT_'))
print([(name, resource.getrlimit(getattr(resource, name))) for name in names], os.nice(0), len(os.sched_getaffinity(0)))
for name in names:
    which = getattr(resource, name)
    hard = resource.getrlimit(which)[1]
    if hard == resource.RLIM_INFINITY: continue
    for more in (hard + 1, resource.RLIM_INFINITY):
        try: resource.setrlimit(which, (more, more)); print('REACHED', name)
        except (ValueError, OSError): pass
for act in (lambda: os.nice(-1), lambda: os.setpriority(os.PRIO_PROCESS, 0, -5), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
            lambda: open('/proc/self/oom_score_adj', 'w').write('-1000'), lambda: os.setuid(0), lambda: os.setgroups([0])):
    try: act(); print('REACHED', act)
    except OSError: pass
print('tried')
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)); resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
os.nice(19); os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); libc.prctl(15, b'renamed', 0, 0, 0)
for id in (1, os.getppid()):
    for which in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
        try: resource.prlimit(id, which, (1, 1))
        except OSError: pass";
    let first = interpreter.execute(attack);
    let output = first["stdout"].as_str().unwrap().to_owned();
    assert!(output.ends_with("tried\n") && !output.contains("REACHED"), "{first}");
    for _ in 0..5 {
        assert_eq!(interpreter.execute(attack)["stdout"], output, "each finds the limits as they were");
    }
    interpreter.is_unscathed();
}
