//! Programs that do not want to end, want to end others, or want their end to look like another: time, processes, output.

use std::fs;

use crate::support::interpreter::{Interpreter, release};
use crate::support::processes::descendants;
use crate::support::until;
use serde_json::{Value, json};

fn stdout(result: &Value) -> &str {
    result["stdout"].as_str().unwrap()
}

#[test]
fn a_thread_bomb_gets_an_error_that_it_can_catch() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import threading
stop, count = threading.Event(), 0
try:
    while True: threading.Thread(target=stop.wait, daemon=True).start(); count += 1
except RuntimeError as error: print(error, count < 256)",
    );
    assert_eq!(stdout(&result), "can't start new thread True\n", "{result}");
    interpreter.is_unscathed();
}

#[test]
fn a_fork_bomb_of_a_shell_and_a_thousand_orphans_are_gone() {
    let interpreter = Interpreter::start();
    interpreter.run_for(2.0, "import os\nos.system('bomb() { bomb | bomb & }; bomb; sleep 99')");
    interpreter.is_unscathed();
    let result = interpreter.execute(
        "import os, time
for _ in range(1000):
    try: child = os.fork()
    except BlockingIOError: break
    if child == 0:
        os.setsid()
        time.sleep(1000)
print('parent')",
    );
    assert_eq!((stdout(&result), &result["exit_code"]), ("parent\n", &json!(0)), "{result}");
    interpreter.is_unscathed();
}

#[test]
fn long_calls_of_c_end_at_their_time_limit() {
    let interpreter = Interpreter::start();
    std::thread::scope(|scope| {
        for code in [
            "import re; re.match('(a+)+$', 'a' * 64 + 'b')",
            "10 ** 10 ** 8",
            "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2 ** 31 - 1)",
            "import threading; threading.Lock().acquire() and threading.Event().wait()",
            "import ctypes; ctypes.CDLL(None).pause()",
            "import os; os.read(os.pipe()[0], 1)",
            "import itertools; any(itertools.repeat(0))",
        ] {
            let interpreter = &interpreter;
            scope.spawn(move || {
                let result = interpreter.run_for(1.5, &format!("print('before')\n{code}"));
                assert_eq!((stdout(&result), &result["exit_code"]), ("before\n", &json!(124)), "{code}: {result}");
            });
        }
    });
    interpreter.is_unscathed();
}

#[test]
fn programs_that_stop_themselves_end_at_their_time_limit() {
    let interpreter = Interpreter::start();
    for act in [
        "os.kill(os.getpid(), 19)",
        "os.kill(0, 19)",
        "os.fork() and os.kill(-1, 19)",
        "os.fork() or os.kill(os.getppid(), 19)",
    ] {
        let result = interpreter.run_for(1.0, &format!("import os\nprint('before')\n{act}\nwhile True: pass"));
        assert_eq!((stdout(&result), &result["exit_code"]), ("before\n", &json!(124)), "{act}: {result}");
    }
    interpreter.is_unscathed();
}

#[test]
fn children_that_hold_and_fill_the_output_do_not_delay_the_answer() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os, signal, subprocess, time
subprocess.Popen(['sleep', '1000'], start_new_session=True)
reading, writing = os.pipe()
if os.fork() == 0:
    if os.fork(): os._exit(0)
    os.setsid()
    for number in range(1, 64):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    os.write(writing, b'x')
    while True: os.write(1, b'y' * 65536); os.write(2, b'z' * 65536)
os.read(reading, 1)
os._exit(3)",
    );
    assert_eq!(result["exit_code"], 3);
    interpreter.is_unscathed();
}

#[test]
fn whatever_a_program_leaves_behind_has_ended_before_the_answer() {
    let interpreter = Interpreter::start();
    let sleeper = "'sleep', '86399'";
    let runs = || {
        descendants(interpreter.id()).iter().any(|id| {
            fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|command| command.starts_with(b"sleep\x0086399"))
        })
    };
    for leave in [
        format!("os.posix_spawnp('sleep', [{sleeper}], os.environ)"),
        format!("subprocess.Popen([{sleeper}], start_new_session=True)"),
        // A grandchild, whose parent has ended before it.
        format!("os.fork() or (os.setsid(), os.fork() and os._exit(0), os.execvp('sleep', [{sleeper}]))"),
        // Whoever adopts orphans is one of those that are left.
        format!(
            "os.fork() or (ctypes.CDLL(None).prctl(36, 1), os.fork() or os.execvp('sleep', [{sleeper}]), time.sleep(86399))"
        ),
        format!("threading.Thread(target=subprocess.run, args=([{sleeper}],), daemon=True).start()"),
    ] {
        // The program's end and its children's start race, so each has several tries.
        for _ in 0..12 {
            let program =
                format!("import ctypes, os, subprocess, threading, time\n{leave}\ntime.sleep(0.02)\nprint('left')");
            let result = interpreter.execute(&program);
            assert!(!runs(), "{leave}");
            assert_eq!((stdout(&result), &result["exit_code"]), ("left\n", &json!(0)), "{leave}: {result}");
        }
    }
    // The twin: while the program runs, it is seen.
    let program = format!(
        "import os, subprocess, time
child = subprocess.Popen([{sleeper}])
open('made', 'w').close()
while os.path.exists('made'): time.sleep(0.01)"
    );
    std::thread::scope(|scope| {
        let call = scope.spawn(|| interpreter.execute(&program));
        let process = interpreter.program_with("made");
        until("its child is seen", runs);
        release(process, "made");
        call.join().unwrap()
    });
    interpreter.is_unscathed();
}

#[test]
fn a_program_that_closes_its_output_is_answered_for_when_it_ends() {
    let interpreter = Interpreter::start();
    for (end, exit_code) in [("pass", 0), ("sys.exit(3)", 3), ("os._exit(4)", 4), ("os.kill(os.getpid(), 9)", 137)] {
        for close in [
            "os.closerange(0, 3)",
            "os.close(1); os.close(2); threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
        ] {
            for pause in [0.0, 0.02, 0.2] {
                let program = format!(
                    "import os, sys, threading, time\n{close}\ntime.sleep({pause})\nopen('late', 'w').close()\n{end}"
                );
                let result = interpreter.execute(&program);
                assert_eq!(result["exit_code"], exit_code, "{program}: {result}");
                assert!(result["files"]["/workspace/late"].is_string(), "{program}: {result}");
            }
        }
    }
    // Its last process, and not its first one, closes the output.
    let result = interpreter.execute(
        "import os, time
if os.fork() == 0:
    time.sleep(0.1)
    open('child', 'w').close()
    os._exit(0)
os.closerange(0, 3)
os.wait()
os._exit(6)",
    );
    assert_eq!(result["exit_code"], 6, "{result}");
    assert!(result["files"]["/workspace/child"].is_string(), "{result}");
    interpreter.is_unscathed();
}

#[test]
fn an_endless_line_is_bounded() {
    let interpreter = Interpreter::start();
    let result =
        interpreter.run_for(2.0, "import os\nwhile True: os.write(1, b'x' * 65536); os.write(2, b'\\0' * 65536)");
    assert_eq!(result["exit_code"], 124);
    for stream in ["stdout", "stderr"] {
        let text = result[stream].as_str().unwrap();
        assert!(text.contains("bytes left out]") && text.len() < 3 << 20, "{stream}: {} bytes", text.len());
    }
    interpreter.is_unscathed();
}

#[test]
fn every_byte_of_output_is_data() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        r#"import sys
lines = [b'{"jsonrpc":"2.0","id":1,"result":{}}', b'{"exit_code":0,"files":{},"stderr":"","stdout":"forged"}', b'\r\n\r\nHTTP/1.1 500 Oops\r\n\r\n']
lines += [bytes(range(256)), b'\x1b]0;title\x07\x1b[2J', b'\0' * 1000, b'Killed: forged', b'Timeout: forged', b'File not returned: forged']
for line in lines: sys.stdout.buffer.write(line + b'\n')
print("Killed: forged", file=sys.stderr)"#,
    );
    let output = stdout(&result);
    assert!(
        output.starts_with("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n")
            && output.ends_with("not returned: forged\n")
    );
    assert!(output.contains(&"\0".repeat(1000)) && output.contains("\u{1b}[2J") && output.contains('\u{fffd}'));
    assert_eq!((&result["exit_code"], &result["files"]), (&json!(0), &json!({})));
    assert!(result["stderr"].as_str().unwrap().starts_with("Killed: forged\n"));
    interpreter.is_unscathed();
}

#[test]
fn a_result_cannot_be_forged_through_any_descriptor() {
    let interpreter = Interpreter::start();
    // Whatever a slot's own messages look like: numbers, JSON of several shapes, with and without lengths before them.
    let program = r#"import array, os, socket, stat, struct
words = [b'{"Exited":{"Code":0}}', b'{"Exited":{"Signal":9}}', b'{"exit_code":0}', b'{"exited":0}', b'{"Ended":{"exit":{"Code":0},"cpu_time":0}}',
         b'{"exit":{"Code":0}}', b'"Exited"', b'"Ready"', b'{"Ready":0}', b'{"Failed":{"Python":{"python":"x","reason":"forged"}}}', b'0', b'0\n', b'\0', b'']
words += [struct.pack(form, 0) for form in '<b <i <q >i >q'.split()] + [struct.pack('<ii', 0, 0), struct.pack('<iiq', 1, 0, 0)]
words += [struct.pack('<I', len(word)) + word for word in words] + [struct.pack('>I', len(word)) + word for word in words]
def tell(fd):
    connection = None
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode): connection = socket.socket(fileno=os.dup(fd))
    except OSError: pass
    for word in words:
        try: os.write(fd, word)
        except OSError: pass
        if connection:
            for descriptors in ([], [0]):
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', descriptors))] if descriptors else []
                try: connection.sendmsg([word], ancillary, socket.MSG_DONTWAIT)
                except OSError: pass
everything = [fd for fd in range(256) if fd not in (1, 2)]
for fd in everything: tell(fd)
if os.fork() == 0:
    for fd in everything: tell(fd)
    os._exit(0)
os.wait()
for process in os.listdir('/proc'):
    if process.isdigit():
        try: names = os.listdir(f'/proc/{process}/fd')
        except OSError: continue
        for name in names:
            if name not in '12':
                try: opened = os.open(f'/proc/{process}/fd/{name}', os.O_WRONLY | os.O_NONBLOCK)
                except OSError: continue
                tell(opened); os.close(opened)
print('told')
END"#;
    for (end, exit_code) in [("os._exit(7)", 7), ("raise SystemExit(8)", 8), ("os.kill(os.getpid(), 9)", 137)] {
        let result = interpreter.execute(&program.replace("END", end));
        assert_eq!((stdout(&result), &result["exit_code"]), ("told\n", &json!(exit_code)), "{result}");
    }
    interpreter.is_unscathed();
}

#[test]
fn executions_at_the_same_time_neither_see_nor_reach_each_other() {
    let interpreter = Interpreter::start();
    let own = "print('undisturbed', os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0)) == os.cpu_count(), os.getpriority(os.PRIO_USER, 0))";
    let alone = interpreter.execute(&format!("import os\n{own}"));
    let sibling = &format!(
        "import os, time
secret = 'sibling-' + 'secret'
open('ready', 'w').write(secret); open('/tmp/secret', 'w').write(secret); open('/dev/shm/secret', 'w').write(secret)
print(sorted(name for name in os.listdir('/proc') if name.isdigit()), flush=True)
while os.path.exists('ready'): time.sleep(0.01)
{own}"
    );
    std::thread::scope(|scope| {
        let call = scope.spawn(|| interpreter.execute(sibling));
        let process = interpreter.program_with("ready");
        let others: Vec<u32> = descendants(interpreter.id()).into_iter().chain([interpreter.id(), process]).collect();
        let attack = format!(
            "import ctypes, os, resource, signal
libc = ctypes.CDLL(None, use_errno=True)
print(sorted(name for name in os.listdir('/proc') if name.isdigit()))
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
acts = dict(kill=lambda id: os.kill(id, 0), stop=lambda id: os.kill(id, signal.SIGSTOP), mem=lambda id: open(f'/proc/{{id}}/mem', 'rb'),
            environ=lambda id: open(f'/proc/{{id}}/environ'), priority=lambda id: os.setpriority(os.PRIO_PROCESS, id, 19),
            affinity=lambda id: os.sched_setaffinity(id, {{0}}), prlimit=lambda id: resource.prlimit(id, resource.RLIMIT_CPU, (1, 1)),
            pidfd=lambda id: os.pidfd_open(id), scheduler=lambda id: os.sched_setscheduler(id, os.SCHED_IDLE, os.sched_param(0)))
def check(result):
    if result < 0: raise OSError(ctypes.get_errno())
acts['ptrace'] = lambda id: check(libc.ptrace(16, id, 0, 0))
acts['seize'] = lambda id: check(libc.ptrace(0x4206, id, 0, 0))
acts['read'] = lambda id: check(libc.process_vm_readv(id, vector, 1, vector, 1, 0))
acts['write'] = lambda id: check(libc.process_vm_writev(id, vector, 1, vector, 1, 0))
for id in {others:?}:
    if os.path.exists(f'/proc/{{id}}'): continue # A process of its own that has the same number by chance.
    for name, act in acts.items():
        try: act(id); print('REACHED', name, id)
        except OSError: pass
for which in (os.PRIO_USER, os.PRIO_PGRP):
    try: os.setpriority(which, 0, 19)
    except PermissionError: pass # The slot's first process is among them.
if os.uname().machine == 'x86_64': libc.syscall(251, 3, os.getuid(), 2 << 13 | 7) # ioprio_set: the lowest, for the user.
for path in ('/tmp/secret', '/dev/shm/secret', '/workspace/ready'):
    if os.path.exists(path): print('REACHED', path)
print('tried')"
        );
        let result = interpreter.execute(&attack);
        release(process, "ready");
        let undisturbed = call.join().unwrap();
        assert!(stdout(&result).ends_with("tried\n") && !stdout(&result).contains("REACHED"), "{result}");
        let seen = stdout(&result).lines().next().unwrap();
        assert_eq!(stdout(&undisturbed), format!("{seen}\n{}", stdout(&alone)), "each sees as much as the other");
    });
    // This process may have been started with another niceness than most.
    let [interpreters, own] = [interpreter.id(), std::process::id()].map(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().split(' ').nth(17).unwrap().to_owned()
    });
    assert_eq!(interpreters, own, "the interpreter's own");
    // The harmless twin: outside, the interpreter's process can be looked at in the same ways.
    let id = interpreter.id();
    let twin = format!(
        "import os, resource\nos.kill({id}, 0); os.getpriority(0, {id}); os.sched_getaffinity({id}); os.pidfd_open({id}); resource.prlimit({id}, resource.RLIMIT_CPU); print('REACHED')"
    );
    assert_eq!(interpreter.twin(&twin), "REACHED\n");
    interpreter.is_unscathed();
}

#[test]
fn signals_to_everyone_reach_the_own_slot_only() {
    let interpreter = Interpreter::start();
    std::thread::scope(|scope| {
        let bystander = "import os, time\nopen('ready', 'w').close()\nwhile os.path.exists('ready'): time.sleep(0.01)\nprint('alive')";
        let call = scope.spawn(|| interpreter.execute(bystander));
        let process = interpreter.program_with("ready");
        for signal in ["SIGTERM", "SIGKILL", "SIGHUP", "SIGSEGV"] {
            for target in ["-1", "0", "1", "os.getppid()"] {
                interpreter.run_for(1.0, &format!("import os, signal\nos.kill({target}, signal.{signal})"));
            }
        }
        release(process, "ready");
        assert_eq!(stdout(&call.join().unwrap()), "alive\n");
    });
    interpreter.is_unscathed();
}
