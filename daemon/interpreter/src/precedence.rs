//! The order in which the kernel kills processes when memory is short: programs first, then the zygote, then the interpreter, then the
//! daemon. Also gives programs a lower CPU priority. Control groups act first; this applies to what they do not cover.

use std::fs;
use std::io;

use rustix::process::{Pid, getpriority_process, setpriority_process};

/// The highest `oom_score_adj`: the kernel kills processes with a higher value first.
const MOST: i32 = 1000;
/// Difference to the process that started this one.
const STEP: i32 = 100;
const INTERPRETER: i32 = 300;
const ZYGOTE: i32 = 600;
/// How much higher the nice value of programs is than the interpreter's.
const NICER: i32 = 5;

/// Sets the score of the interpreter. Must be called before it starts other processes, which inherit it.
pub fn of_interpreter() {
    if let Err(error) = own_score(INTERPRETER) {
        tracing::debug!(%error, "cannot set the order in which the kernel kills when memory is short");
    }
}

/// Sets the score of the outer sandbox's first process, which the zygote and the slots inherit.
pub fn of_zygote() -> io::Result<()> {
    own_score(ZYGOTE)
}

/// Sets the score and the nice value of a child that will run a program. Every user may make both worse.
pub fn of_program(child: Pid, shares_processors: bool) {
    let path = format!("/proc/{}/oom_score_adj", child.as_raw_nonzero());
    // It fails only if the child has ended.
    let _ = fs::write(path, MOST.to_string());
    if !shares_processors && let Ok(own) = getpriority_process(None) {
        let _ = setpriority_process(Some(child), own + NICER);
    }
}

/// Sets this process's score to at least `least`, and to more than that of the process that started it.
fn own_score(least: i32) -> io::Result<()> {
    const OWN: &str = "/proc/self/oom_score_adj";
    let inherited = fs::read_to_string(OWN)?.trim().parse::<i32>().map_err(io::Error::other)?;
    let score = least.max((inherited + STEP).min(MOST - STEP));
    if score > inherited { fs::write(OWN, score.to_string()) } else { Ok(()) }
}
