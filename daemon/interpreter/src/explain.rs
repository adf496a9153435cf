//! Why a program ended or failed, in words: what a bound of ours has to do with it, and how it is set.

use std::time::Duration;

use crate::execution::End;
use crate::limits::Limits;
use crate::memory::Exceeded;
use crate::slot::{Exit, Slot, SlotError};
use crate::wire::Outcome;

/// As a shell says it: 128 + 9.
const KILLED: i32 = 137;
/// As `timeout` says it.
const TIMED_OUT: i32 = 124;

/// The exit code of a program that ended so, with a line for the reader if it was not simply its own.
pub fn end(end: &End, slot: &Slot, limits: &Limits, notes: &mut Vec<String>) -> Result<(i32, Outcome), SlotError> {
    let out_of_memory = slot.group.as_ref().is_some_and(|group| group.ran_out_of_memory());
    match end {
        End::Memory(Exceeded::Unknown) => {
            notes.push(
                "Killed: the program has so many processes and mappings that its memory cannot be watched; with a control \
                 group it could go on (python-interpreter-mcpd doctor)"
                    .to_owned(),
            );
            return Ok((KILLED, Outcome::Limited));
        }
        End::Memory(Exceeded::Limit) => {}
        _ if out_of_memory => {}
        End::Time(limit) => {
            notes.push(timeout(*limit, limits));
            return Ok((TIMED_OUT, Outcome::TimedOut));
        }
        End::Itself(ended) => {
            return Ok(match ended.exit {
                Exit::Code(code) => (code, Outcome::Finished),
                Exit::Signal(9) if ended.cpu_time + Duration::from_secs(1) > limits.cpu_time => {
                    let seconds = limits.cpu_time.as_secs();
                    notes.push(format!(
                        "Killed: the program used {seconds} s of processor time, its limit (PYTHON_INTERPRETER_MCP_CPU_TIME)"
                    ));
                    (KILLED, Outcome::Limited)
                }
                Exit::Signal(signal) => {
                    notes.push(format!("Killed: the program was ended by signal {signal}{}", signal_name(signal)));
                    (128 + signal, Outcome::Finished)
                }
            });
        }
        // What it had printed is worth having all the same.
        End::Lost(SlotError::Died) => {
            notes.push(format!("Killed: {}", SlotError::Died));
            return Ok((KILLED, Outcome::Limited));
        }
        End::Lost(error) => return Err(SlotError::Io(std::io::Error::other(error.to_string()))),
    }
    notes.push(format!(
        "Killed: the program used more memory than its limit of {} for all its processes together \
         (PYTHON_INTERPRETER_MCP_MEMORY)",
        size(limits.memory)
    ));
    Ok((KILLED, Outcome::Limited))
}

fn timeout(limit: Duration, limits: &Limits) -> String {
    format!(
        "Timeout: the program was stopped after {} s, its time limit (timeout_seconds, at most {} s by \
         PYTHON_INTERPRETER_MCP_TIMEOUT)",
        limit.as_secs_f64(),
        limits.timeout.as_secs_f64()
    )
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        4 => " (SIGILL: an instruction that this processor does not have)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL: by itself, or from outside, as when the machine runs out of memory)",
        11 => " (SIGSEGV: it used memory that is not its own)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

/// A line that names the limit behind an error that the program ended with, where there is one.
pub fn limit_that_was_met(exit_code: i32, stderr: &str, limits: &Limits) -> Option<String> {
    let last = stderr.trim_end().lines().last()?;
    if exit_code == 0 {
        return None;
    }
    let met = |words: &[&str]| words.iter().any(|words| last.contains(words));
    let (limit, variable) = if met(&["MemoryError", "Cannot allocate memory"]) {
        (format!("a process may use {} of address space", size(limits.address_space())), "MEMORY")
    } else if met(&["No space left on device"]) {
        let places = "/workspace, /tmp and /dev/shm together hold";
        let (bytes, files) = (size(limits.workspace), limits.workspace_files);
        (format!("{places} {bytes} and {files} files"), "WORKSPACE")
    } else if met(&["Resource temporarily unavailable", "can't start new thread"]) {
        (format!("a program may have {} processes and threads", limits.processes), "PROCESSES")
    } else if met(&["File too large"]) {
        (format!("a file may have {}", size(limits.file_size)), "FILE_SIZE")
    } else if met(&["Too many open files"]) {
        (format!("a process may have {} open files", limits.open_files), "OPEN_FILES")
    } else {
        return None;
    };
    Some(format!("Limit: {limit} (PYTHON_INTERPRETER_MCP_{variable})"))
}

fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} bytes"), |(name, unit)| format!("{} {name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::{limit_that_was_met, size};
    use crate::limits::Limits;

    #[test]
    fn the_limit_behind_an_error_is_named() {
        let limits = Limits::default();
        let line = |stderr| limit_that_was_met(1, stderr, &limits).unwrap_or_default();
        assert!(line("Traceback\nMemoryError\n").contains("4 GiB of address space (PYTHON_INTERPRETER_MCP_MEMORY)"));
        assert!(line("OSError: [Errno 28] No space left on device\n").contains("512 MiB and 65536 files"));
        assert_eq!(line("No space left on device\nValueError\n"), "");
        assert_eq!(limit_that_was_met(0, "MemoryError", &limits), None);
    }

    #[test]
    fn sizes_are_whole_units() {
        assert_eq!([size(4 << 30), size(1 << 20), size(1537), size(7)], ["4 GiB", "1 MiB", "1537 bytes", "7 bytes"]);
    }
}
