//! What programs are forked from outlives signals that are for others, and is replaced in time.

use crate::support::interpreter::{Interpreter, release};
use crate::support::processes::children;
use crate::support::until;
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};

fn process(id: u32) -> Pid {
    Pid::from_raw(id as i32).unwrap()
}

/// Ctrl-C in a terminal reaches the whole process group, and a service manager may tell every process of a unit to end.
#[test]
fn signals_that_ask_for_an_end_leave_the_programs_to_the_interpreter() {
    let interpreter = Interpreter::start();
    let program = "
import os, time
open('running', 'w').close()
while os.path.exists('running'): time.sleep(0.01)
print('to its end')
try: os.kill(os.getpid(), 2); time.sleep(60)
except KeyboardInterrupt: print('interrupted by itself')
";
    std::thread::scope(|scope| {
        let call = scope.spawn(|| interpreter.execute(program));
        let running = interpreter.program_with("running");
        let spawner = interpreter.spawner();
        let [inside] = children(spawner)[..] else { panic!("one process inside") };
        // The first of its children, before any slot.
        let zygote = children(inside).into_iter().min().unwrap();
        assert!(std::fs::read_to_string(format!("/proc/{zygote}/cmdline")).unwrap().contains("zygote"));
        let group = getpgid(Some(process(spawner))).unwrap();
        assert_ne!(group, getpgid(Some(process(interpreter.id()))).unwrap());
        for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
            kill_process_group(group, signal).unwrap();
            for id in [spawner, inside, zygote] {
                kill_process(process(id), signal).unwrap();
            }
        }
        // The zygote serves a further call before the program goes on.
        assert_eq!(interpreter.execute("print(1)")["stdout"], "1\n");
        release(running, "running");
        let result = call.join().unwrap();
        let expected = "to its end\ninterrupted by itself\n";
        assert_eq!((&result["stdout"], &result["exit_code"]), (&expected.into(), &0.into()), "{result}");
        assert_eq!(interpreter.spawner(), spawner);
    });
}

/// With a new hash seed and new addresses. No call fails, or runs in one that is on its way out, and nothing of the old ones is left.
#[test]
fn another_python_takes_over_after_a_number_of_programs() {
    let interpreter = Interpreter::start_with_arguments(&["--most-slots", "5"]);
    let (mut spawners, mut seeds) = (Vec::new(), Vec::new());
    while seeds.len() < 4 {
        let result = interpreter.execute("print(hash('seed'))");
        assert_eq!((&result["exit_code"], &result["stderr"]), (&0.into(), &"".into()), "{result}");
        let seed = result["stdout"].as_str().unwrap().to_owned();
        if !seeds.contains(&seed) {
            seeds.push(seed);
        }
        spawners.extend(children(interpreter.id()).into_iter().filter(|id| !spawners.contains(id)).collect::<Vec<_>>());
    }
    assert!(spawners.len() >= 4, "{spawners:?}");
    until("the old ones are gone", || children(interpreter.id()).len() == 1);
    interpreter.wait_until_empty();
}
