//! Explains why a program ended or failed: which limit was met, and which setting changes it.

use std::time::Duration;

use crate::limits::Limits;
use crate::memory::Exceeded;
use crate::outcome::{End, Exit};
use crate::slot::{Slot, SlotError};
use crate::wire::Outcome;

/// 128 + SIGKILL, as a shell reports it.
const KILLED: i32 = 137;
/// As timeout(1) reports it.
const TIMED_OUT: i32 = 124;

/// The exit code and outcome. Adds a line to `notes` unless the program simply exited.
pub fn end(end: &End, slot: &Slot, limits: &Limits, notes: &mut Vec<String>) -> Result<(i32, Outcome), SlotError> {
    let out_of_memory = || slot.group.as_ref().is_some_and(|group| group.ran_out_of_memory());
    match end {
        // A program that runs out of memory never ends with a code: the kernel kills its whole group.
        End::Itself(Exit::Code(code)) => return Ok((*code, Outcome::Finished)),
        End::Memory(Exceeded::Unknown) => {
            notes.push(
                "Killed: the program has so many processes and mappings that its memory cannot be watched; with a control \
                 group it could go on (python-interpreter-mcpd doctor)"
                    .to_owned(),
            );
            return Ok((KILLED, Outcome::Limited));
        }
        End::Memory(Exceeded::Total) => return Ok(total(limits, notes)),
        End::Memory(Exceeded::Limit) => {}
        _ if out_of_memory() => {
            if !slot.group.as_ref().is_some_and(|group| group.was_full()) {
                return Ok(total(limits, notes));
            }
        }
        End::Time(limit) => {
            notes.push(timeout(*limit, limits));
            return Ok((TIMED_OUT, Outcome::TimedOut));
        }
        End::Itself(Exit::Signal { number: 9, cpu_time }) if *cpu_time + Duration::from_secs(1) > limits.cpu_time => {
            let seconds = limits.cpu_time.as_secs();
            notes.push(format!(
                "Killed: the program used {seconds} s of processor time, its limit (PYTHON_INTERPRETER_MCP_CPU_TIME)"
            ));
            return Ok((KILLED, Outcome::Limited));
        }
        End::Itself(Exit::Signal { number, .. }) => {
            notes.push(format!("Killed: the program was ended by signal {number}{}", signal_name(*number)));
            return Ok((128 + number, Outcome::Finished));
        }
        End::Asked => {
            notes.push("Killed: the interpreter was stopped while the program ran, or its caller ended it".to_owned());
            return Ok((KILLED, Outcome::Stopped));
        }
        // Not an error: the output so far is still worth returning.
        End::Lost(SlotError::Died) => {
            notes.push(format!("Killed: {}", SlotError::Died));
            return Ok((KILLED, Outcome::Limited));
        }
        End::Lost(error) => return Err(SlotError::Io(std::io::Error::other(error.to_string()))),
    }
    notes.push(format!(
        "Killed: the program used more memory than its limit of {} for all its processes together \
         (PYTHON_INTERPRETER_MCP_MEMORY)",
        size(limits.memory.0)
    ));
    Ok((KILLED, Outcome::Limited))
}

fn total(limits: &Limits, notes: &mut Vec<String>) -> (i32, Outcome) {
    notes.push(format!(
        "Killed: all programs together used more memory than their limit of {}, and this one the most \
         (PYTHON_INTERPRETER_MCP_TOTAL_MEMORY)",
        size(limits.total_memory())
    ));
    (KILLED, Outcome::Limited)
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

/// What else is known about a program that failed.
#[derive(Debug, Default, Clone, Copy)]
pub struct Evidence {
    /// It had reached its limit of processes.
    pub crowded: bool,
    /// One of its files has the largest size allowed.
    pub cut_off: bool,
    /// Its writable places are full.
    pub full: bool,
    /// A control group bounds its memory, so its address space is not limited.
    pub bounded: bool,
}

/// 128 + SIGABRT and 128 + SIGXFSZ, as a shell reports them.
const ABORTED: i32 = 134;
const FILE_TOO_LARGE: i32 = 153;

/// A line that names the limit that a program met, if it did. An exception counts only by its type and errno. Its message does not: a
/// program may raise its own with the same words.
pub fn limit_that_was_met(exit_code: i32, stderr: &str, evidence: Evidence, limits: &Limits) -> Option<String> {
    if exit_code == 0 {
        return None;
    }
    let exception = stderr.trim_end().lines().last().unwrap_or_default();
    let (kind, said) = exception.split_once(": ").unwrap_or((exception, ""));
    let is = |name: &str| kind.ends_with(name) && !kind.contains(' ');
    let number = |number: u32| is("Error") && said.starts_with(&format!("[Errno {number}] "));
    let no_memory = is("MemoryError") || number(12) || (exit_code == ABORTED && exception.contains("std::bad_alloc"));
    let (limit, variable) = if number(28) || evidence.full {
        let places = "/workspace, /tmp and /dev/shm together hold";
        let (bytes, files) = (size(limits.workspace.0), limits.workspace_files);
        (format!("{places} {bytes} and {files} files"), "WORKSPACE")
    } else if number(27) || exit_code == FILE_TOO_LARGE || evidence.cut_off {
        (format!("a file may have {}", size(limits.file_size.0)), "FILE_SIZE")
    } else if number(24) {
        (format!("a process may have {} open files", limits.open_files), "OPEN_FILES")
    } else if evidence.crowded || exception == "RuntimeError: can't start new thread" {
        (format!("a program may have {} processes and threads", limits.processes), "PROCESSES")
    } else if no_memory && !evidence.bounded {
        let space = size(limits.address_space());
        (format!("a process may use {space} of address space beyond what it starts with"), "ADDRESS_SPACE")
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
    use super::{Evidence, limit_that_was_met, size};
    use crate::limits::tests::defaults;

    const NONE: Evidence = Evidence { crowded: false, cut_off: false, full: false, bounded: false };

    fn line(exit_code: i32, stderr: &str, evidence: Evidence) -> String {
        limit_that_was_met(exit_code, stderr, evidence, &defaults()).unwrap_or_default()
    }

    #[test]
    fn the_exception_that_ended_a_program_names_the_limit() {
        for (stderr, words) in [
            (
                "Traceback\nMemoryError\n",
                "4 GiB of address space beyond what it starts with (PYTHON_INTERPRETER_MCP_ADDRESS_SPACE)",
            ),
            ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB\n", "ADDRESS_SPACE"),
            ("OSError: [Errno 12] Cannot allocate memory\n", "ADDRESS_SPACE"),
            ("OSError: [Errno 28] No space left on device: 'x'\n", "512 MiB and 65536 files"),
            ("OSError: [Errno 24] Too many open files: 'x'\n", "256 open files"),
            ("RuntimeError: can't start new thread\n", "256 processes and threads"),
        ] {
            assert!(line(1, stderr, NONE).contains(words), "{stderr}: {}", line(1, stderr, NONE));
            assert_eq!(line(0, stderr, NONE), "");
        }
        assert_eq!(line(1, "MemoryError\n", Evidence { bounded: true, ..NONE }), "", "nothing bounds address space");
    }

    #[test]
    fn words_alone_name_none() {
        for stderr in [
            "RuntimeError: MemoryError was reported by the remote worker\n",
            "BlockingIOError: [Errno 11] Resource temporarily unavailable\n",
            "No space left on device\nValueError\n",
            "ValueError: OSError: [Errno 28] No space left on device\n",
            "the child said: MemoryError\n",
        ] {
            assert_eq!(line(1, stderr, NONE), "", "{stderr}");
        }
    }

    #[test]
    fn what_the_kernel_has_counted_names_the_limit_whatever_was_said() {
        let said = "OSError: 40000000 requested and 33554416 written\n";
        for (evidence, words) in [
            (Evidence { cut_off: true, ..NONE }, "a file may have 256 MiB (PYTHON_INTERPRETER_MCP_FILE_SIZE)"),
            (Evidence { full: true, ..NONE }, "WORKSPACE"),
            (Evidence { crowded: true, ..NONE }, "PROCESSES"),
        ] {
            assert!(line(1, said, evidence).contains(words));
            assert_eq!(line(0, said, evidence), "");
        }
        assert!(line(153, "", NONE).contains("FILE_SIZE"));
        assert!(line(134, "  what():  std::bad_alloc\n", NONE).contains("ADDRESS_SPACE"));
    }

    #[test]
    fn sizes_are_whole_units() {
        assert_eq!([size(4 << 30), size(1 << 20), size(1537), size(7)], ["4 GiB", "1 MiB", "1537 bytes", "7 bytes"]);
    }
}
