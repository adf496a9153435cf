//! What is imported ahead of programs is what they would have imported themselves: a program is to find a module as it is after
//! `import` and a fork, and no module may break the fork.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::environment::Environment;
use crate::support::interpreter::Interpreter;

fn printed(interpreter: &Interpreter, program: &str) -> String {
    let result = interpreter.execute(program);
    assert_eq!((&result["stderr"], &result["exit_code"]), (&"".into(), &0.into()), "{result}");
    result["stdout"].as_str().unwrap().to_owned()
}

/// Libraries in C++ keep the thread's state itself: with another one in its place they crash.
#[test]
fn a_program_finds_what_a_module_keeps_for_its_thread() {
    let module = "
import contextvars, ctypes, decimal, threading
local = threading.local()
local.kept = 1
variable = contextvars.ContextVar('variable')
variable.set(2)
decimal.getcontext().prec = 7
state = ctypes.pythonapi.PyThreadState_Get
state.restype = ctypes.c_void_p
own_state, own_thread = state(), threading.get_ident()
";
    let environment = Environment::with(&[("keeps", module)]);
    let program = "
import decimal, keeps, threading
print(getattr(keeps.local, 'kept', 'LOST'), keeps.variable.get('LOST'), decimal.getcontext().prec)
print(keeps.state() == keeps.own_state, threading.get_ident() == keeps.own_thread)
print(threading.current_thread() is threading.main_thread())
";
    for preload in ["", "keeps"] {
        let interpreter = environment.preloading(preload);
        assert_eq!(printed(&interpreter, program), "1 2 7\nTrue True\nTrue\n", "preloaded: {preload:?}");
    }
}

/// A child has the one thread that forked it, and of descriptors its streams.
#[test]
fn a_module_that_leaves_a_thread_or_a_descriptor_is_named_and_left_out() {
    let thread = "
import threading
lock, held = threading.Lock(), threading.Event()
def hold():
    with lock:
        held.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
";
    // `through` is found only when it is what imports the other.
    let modules = [
        ("holds", thread),
        ("opens", "import os\nopened = os.open('/dev/null', os.O_RDONLY)\n"),
        ("through", "import holds"),
        // As a thread that was joined, which goes on for a moment on a busy machine.
        (
            "ends",
            "import threading, time\nthread = threading.Thread(target=time.sleep, args=(0.05,))\nthread.start()\n",
        ),
    ];
    let environment = Environment::with(&modules);
    let interpreter = environment.preloading("json,holds,opens,through,ends");
    let program = "
import os, threading, ends, holds, opens, through
os.fstat(opens.opened)
ends.thread.join()
print(threading.active_count(), holds.lock.locked(), ends.thread.is_alive())
";
    // The thread, what it holds and the descriptor are this very program's.
    assert_eq!(printed(&interpreter, program), "2 True False\n");
    let log = interpreter.log();
    for line in [
        "holds is not preloaded: its import leaves a thread",
        "opens is not preloaded: its import leaves an open descriptor",
        "through is not preloaded: its import leaves a thread",
    ] {
        assert!(log.contains(line), "{line:?} is not in:\n{log}");
    }
    assert!(!log.contains("ends is not preloaded") && !log.contains("json is not preloaded"), "{log}");
}

#[test]
fn generators_of_preloaded_modules_differ_between_programs_where_they_would_without() {
    let module = "
import random
unseeded, seeded, again = random.Random(), random.Random(1), random.Random(1)
again.seed()
system = random.SystemRandom()
class Own(random.Random): pass
own = Own()
";
    let environment = Environment::with(&[("draws", module)]);
    let program = "
import draws, random
for generator in draws.unseeded, draws.again, draws.system, draws.own, random, draws.seeded:
    print(generator.random())
print(random.Random.seed.__qualname__)
";
    for preload in ["", "draws"] {
        let interpreter = environment.preloading(preload);
        let [first, second] = [(); 2].map(|()| printed(&interpreter, program));
        let pairs: Vec<_> = first.lines().zip(second.lines()).map(|(first, second)| first == second).collect();
        assert_eq!(pairs, [false, false, false, false, false, true, true], "{preload:?}: {first}{second}");
    }
}

/// Its `.pth` files hold code of whoever installed something into it.
#[test]
fn nothing_that_lies_in_an_environment_runs_outside_the_sandbox() {
    let environment = Environment::with(&[("found", "")]);
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let ran = home.path().join("ran-outside");
    let line = format!("import os; open({:?}, 'w').write(str(os.getpid()))\n", ran.to_str().unwrap());
    fs::write(environment.packages().join("runs.pth"), line).unwrap();
    // The harmless twin: the same Python outside, started as usual.
    let python = environment.path().join("bin/python");
    assert!(Command::new(&python).args(["-I", "-c", "pass"]).status().unwrap().success());
    assert!(ran.exists());
    fs::remove_file(&ran).unwrap();
    let interpreter = environment.preloading("");
    let program = "import found, sys; print(sys.prefix, sys.executable)";
    let prefix = environment.path().display();
    assert_eq!(interpreter.execute(program)["stdout"], format!("{prefix} {}\n", python.display()));
    assert!(!ran.exists());
}
