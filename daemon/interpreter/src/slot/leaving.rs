//! What /proc says about a process that is ending. To take its memory apart can take the kernel longer than the program ran, and only
//! then is its parent told.

use rustix::fs::{Mode, OFlags, open, readlink};
use rustix::io::{Errno, read};
use rustix::process::Pid;

/// `PF_EXITING` of the kernel: the thread will never run anything outside the kernel again.
const EXITING: u64 = 0x4;

/// The exit code of `program`, the first process of a program, if it is ending and none of its other processes is left in the slot whose first
/// process is `first`: nothing of the program can run or write any more. The kernel may still be taking its memory apart.
pub fn code_of_last_process(first: Pid, program: Pid) -> Option<i32> {
    // In this order: the children of a process that ends become the slot's first process's.
    let code = exit_code(program)?;
    (has_no_child(program) && has_no_child(first)).then_some(code)
}

/// The exit code of a process that is ending, has no other threads, and has given up its memory. None for all others, for those that a
/// signal ends, and if the kernel does not tell.
fn exit_code(process: Pid) -> Option<i32> {
    let directory = format!("/proc/{}", process.as_raw_nonzero());
    // Whoever may not look at the process reads an exit code of 0. Who may, reads here that it has no program any more.
    if readlink(format!("{directory}/exe"), Vec::new()) != Err(Errno::NOENT) {
        return None;
    }
    let mut stat = [0; 1024];
    let length = read_beginning(&format!("{directory}/stat"), &mut stat)?;
    read_exit_code(&String::from_utf8_lossy(&stat[..length]))
}

/// Reads a file of /proc with a single read. Returns how many bytes were read.
fn read_beginning(path: &str, buffer: &mut [u8]) -> Option<usize> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    read(&file, buffer).ok()
}

/// Reads `/proc/PID/stat`: see proc_pid_stat(5).
fn read_exit_code(stat: &str) -> Option<i32> {
    // The second field is the name, in parentheses, and may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (flags, threads, memory, status) = (field(9)?, field(20)?, field(23)?, field(52)?);
    // The kernel sets the status before it takes the memory.
    let is_over = flags & EXITING != 0 && threads == 1 && memory == 0;
    (is_over && status & 0x7f == 0).then_some((status >> 8) as i32 & 0xff)
}

/// Whether a process with one thread has no child. False if the kernel does not list children (`CONFIG_PROC_CHILDREN`).
pub fn has_no_child(process: Pid) -> bool {
    let id = process.as_raw_nonzero();
    // The kernel may skip a child while others end, but not the first one.
    read_beginning(&format!("/proc/{id}/task/{id}/children"), &mut [0]) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::read_exit_code;

    fn stat(flags: u64, threads: u64, memory: u64, status: u64) -> String {
        let middle = "0 ".repeat(6);
        let later = "0 ".repeat(28);
        format!(
            "7 (a) R 1) R 1 7 7 0 -1 {flags} 1 0 0 0 {} {threads} 0 99 {memory} {later}{status}\n",
            middle.trim_end()
        )
    }

    #[test]
    fn a_process_past_its_last_instruction_has_an_exit_code() {
        assert_eq!(read_exit_code(&stat(0x40_0104, 1, 0, 3 << 8)), Some(3));
        assert_eq!(read_exit_code(&stat(4, 1, 0, 0)), Some(0));
    }

    #[test]
    fn all_others_have_none() {
        for stat in [
            stat(0, 1, 0, 0),
            stat(4, 2, 0, 0),
            stat(4, 1, 4096, 0),
            stat(4, 1, 0, 9),
            String::new(),
            "7 (a) R 1".to_owned(),
        ] {
            assert_eq!(read_exit_code(&stat), None, "{stat}");
        }
    }
}
