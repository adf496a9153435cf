//! When memory or processors are short, programs make way for what serves them.

use std::fs;

use crate::support::interpreter::{Interpreter, release};
use crate::support::processes::{children, descendants};

fn score(process: u32) -> i32 {
    fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap().trim().parse().unwrap()
}

fn niceness(process: u32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[test]
fn the_program_is_ended_first_then_the_zygote_then_the_interpreter_then_who_started_it() {
    let interpreter = Interpreter::start();
    let running = "import os, subprocess, time
child = subprocess.Popen(['sleep', '60'], start_new_session=True)
open('running', 'w').close()
while os.path.exists('running'): time.sleep(0.01)
child.kill()";
    std::thread::scope(|scope| {
        let run = scope.spawn(|| interpreter.execute(running));
        let program = interpreter.program_with("running");
        let others: Vec<u32> = descendants(interpreter.id());
        let zygote = *others
            .iter()
            .find(|id| fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains("zygote.py")))
            .unwrap();
        let scores = [program, zygote, interpreter.id(), std::process::id()].map(score);
        // Where everything has nearly the most already, as in some containers, there is no room for an order.
        let is_ordered = |first: &i32, next: &i32| if scores[3] > 800 { first >= next } else { first > next };
        assert!(scores.is_sorted_by(is_ordered), "{scores:?}");
        for process in children(program) {
            assert_eq!(score(process), scores[0], "what the program starts goes with it");
            assert!(niceness(process) > niceness(interpreter.id()));
        }
        assert!(niceness(program) > niceness(interpreter.id()) && niceness(zygote) == niceness(interpreter.id()));
        release(program, "running");
        assert_eq!(run.join().unwrap()["exit_code"], 0);
    });
    let lifted = interpreter.execute(
        "import os
for act in (lambda: open('/proc/self/oom_score_adj', 'w').write('0'), lambda: os.nice(-1), lambda: os.setpriority(os.PRIO_PROCESS, 0, 0)):
    try: act(); print('REACHED')
    except OSError: pass",
    );
    assert_eq!(lifted["stdout"], "", "{lifted}");
}
