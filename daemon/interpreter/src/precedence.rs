//! Who goes first when memory is short, and who comes last when processors are: the program, then the zygote, then the interpreter,
//! then the daemon. Where a control group shares out, this only says what happens beyond it.

use std::fs;
use std::io;

use rustix::process::{Pid, getpriority_process, setpriority_process};

/// The kernel's own scale (`oom_score_adj`): at the most, a process is ended before all that have less.
const MOST: i32 = 1000;
/// Between those of the list.
const STEP: i32 = 100;
const INTERPRETER: i32 = 300;
const ZYGOTE: i32 = 600;
/// What programs are nicer than the interpreter.
const NICER: i32 = 5;

/// The interpreter, before everything that it starts; the daemon, which started it, has less.
pub fn of_interpreter() {
    if let Err(error) = own_score(INTERPRETER) {
        tracing::debug!(%error, "the kernel is not told what to end first when memory is short");
    }
}

/// The outer sandbox, with the zygote and slots' first processes.
pub fn of_zygote() -> io::Result<()> {
    own_score(ZYGOTE)
}

/// The child that will run a program, and all that come of it. Both only ask for less, which everyone may.
pub fn of_program(child: Pid, shares_processors: bool) {
    let path = format!("/proc/{}/oom_score_adj", child.as_raw_nonzero());
    // It may have ended meanwhile.
    let _ = fs::write(path, MOST.to_string());
    if !shares_processors && let Ok(own) = getpriority_process(None) {
        let _ = setpriority_process(Some(child), own + NICER);
    }
}

/// At least `least`, and more than what started this process.
fn own_score(least: i32) -> io::Result<()> {
    const OWN: &str = "/proc/self/oom_score_adj";
    let inherited = fs::read_to_string(OWN)?.trim().parse::<i32>().map_err(io::Error::other)?;
    let score = least.max((inherited + STEP).min(MOST - STEP));
    if score > inherited { fs::write(OWN, score.to_string()) } else { Ok(()) }
}
