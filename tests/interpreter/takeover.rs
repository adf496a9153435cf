//! The next Python takes over from the current one without a call that waits for it, and not at all if it fails.

use crate::support::environment::Environment;
use crate::support::interpreter::Interpreter;
use crate::support::processes::children;
use crate::support::until;

/// How many slots wait, and how many calls had to wait for one, if nothing else goes on.
fn slots(interpreter: &Interpreter) -> (u64, u64) {
    let slots = interpreter.request("GET", "/healthz", &[], b"").json()["slots"].clone();
    (slots["waiting"].as_u64().unwrap(), slots["missed"].as_u64().unwrap())
}

#[test]
fn children_of_the_next_one_wait_when_it_takes_over() {
    let interpreter = Interpreter::start_with_arguments(&["--most-slots", "1", "--log", "debug"]);
    interpreter.works();
    let (_, missed) = slots(&interpreter);
    let takeovers = || {
        let log = interpreter.log();
        let lines = log.lines().filter_map(|line| line.split_once("a new Python replaces the old one waiting="));
        lines.map(|(_, waiting)| waiting.trim().to_owned()).collect::<Vec<_>>()
    };
    for number in 1..=4 {
        until("children wait", || slots(&interpreter).0 == 2);
        // The old Python is worn after this call.
        assert_eq!(interpreter.execute("print(1)")["stdout"], "1\n");
        until("the next one takes over", || {
            // The current one, and the next one.
            let living = children(interpreter.id());
            assert!(living.len() <= 2, "{living:?}");
            takeovers().len() >= number
        });
        until("the old one is gone", || children(interpreter.id()).len() == 1);
    }
    assert!(takeovers().iter().all(|waiting| waiting == "2"), "{:?}", takeovers());
    assert_eq!(slots(&interpreter).1, missed);
    interpreter.is_unscathed();
}

#[test]
fn a_call_that_runs_meanwhile_ends_in_the_old_one() {
    let interpreter = Interpreter::start_with_arguments(&["--most-slots", "1"]);
    interpreter.works();
    let program = "import os, time\nopen('running', 'w').close()\nwhile os.path.exists('running'): time.sleep(0.01)\nprint('to its end')";
    std::thread::scope(|scope| {
        let call = scope.spawn(|| interpreter.execute(program));
        let running = interpreter.program_with("running");
        let old: Vec<u32> = children(interpreter.id());
        until("the next one is there, and the old one too", || {
            let living = children(interpreter.id());
            living.len() == 2 && living.iter().any(|id| !old.contains(id)) && slots(&interpreter).0 > 0
        });
        assert_eq!(interpreter.execute("print(1)")["stdout"], "1\n");
        crate::support::interpreter::release(running, "running");
        assert_eq!(call.join().unwrap()["stdout"], "to its end\n");
    });
    until("the old one is gone", || children(interpreter.id()).len() == 1);
}

/// As when memory runs out during the import.
#[test]
fn no_module_is_left_out_because_python_was_killed() {
    let environment = Environment::with(&[("present", "import os\nif os.getppid() == 1: os.kill(os.getpid(), 9)\n")]);
    let interpreter = environment.preloading("auto");
    for _ in 0..2 {
        assert_eq!(interpreter.execute("import present; print(1)")["stdout"], "1\n");
    }
    until("it fails", || interpreter.log().contains("was killed while it was prepared to run programs"));
    let learned = interpreter.request("GET", "/v1/preload", &[], b"").json();
    assert_eq!(learned["left_out"], serde_json::json!({}), "{learned}");
    assert_eq!(interpreter.execute("import present; print(2)")["stdout"], "2\n");
    interpreter.is_unscathed();
}

/// The module passes its trial, and ends the zygote: only that one is a child of the first process.
#[test]
fn if_the_next_one_fails_the_old_one_goes_on_and_the_module_is_left_out() {
    let kills = "import os\nif os.getppid() == 1: os._exit(7)\n";
    let environment = Environment::with(&[("kills", kills), ("keeps", "")]);
    let interpreter = environment.preloading("auto");
    interpreter.works();
    let (old, missed) = (interpreter.spawner(), slots(&interpreter).1);
    for _ in 0..2 {
        assert_eq!(interpreter.execute("import kills; print(1)")["stdout"], "1\n");
        until("children wait", || slots(&interpreter).0 == 2);
    }
    until("it fails", || interpreter.log().contains("cannot open a new Python; the old one goes on"));
    assert_eq!(interpreter.spawner(), old);
    assert_eq!(interpreter.execute("import kills; print(2)")["stdout"], "2\n");
    let learned = interpreter.request("GET", "/v1/preload", &[], b"").json();
    assert_eq!(learned["left_out"]["kills"], "its import ends or stops Python", "{learned}");
    // What is learned later comes with the next try.
    for _ in 0..2 {
        until("children wait", || slots(&interpreter).0 == 2);
        assert_eq!(interpreter.execute("import keeps; print(1)")["stdout"], "1\n");
    }
    until("the next one takes over", || {
        interpreter.request("GET", "/v1/preload", &[], b"").json()["preloaded"] == serde_json::json!(["keeps"])
    });
    assert_eq!(interpreter.log().matches("cannot open a new Python").count(), 1);
    assert_eq!(slots(&interpreter).1, missed);
    interpreter.is_unscathed();
}
