//! Tells whether processes of a program are left. Each of them has the program's seccomp filter until it ends, and programs cannot install another.
//! The kernel hangs up the filter's listener when the last one is ending. Nothing is sent over it.
//!
//! From Linux 6.11 on it hangs up before the kernel takes the process's memory apart, which can take longer than the program ran. On older ones
//! it does so after the process has been waited for.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open, readlink};
use rustix::io::{Errno, read};
use rustix::process::Pid;
use tokio::io::unix::AsyncFd;

use crate::sandbox::watch;

/// `PF_EXITING` of the kernel: the thread will never run anything outside the kernel again.
const EXITING: u64 = 0x4;

/// The processes of a program.
pub struct Processes {
    /// The id of the first one in the interpreter's pid namespace.
    pub first: Pid,
    listener: Option<AsyncFd<OwnedFd>>,
}

impl Processes {
    /// Without a listener it is never known whether processes are left.
    pub fn new(first: Pid, listener: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Processes { first, listener: listener.map(watch).transpose()? })
    }

    /// Whether all are ending or gone: no instruction of the program runs any more.
    pub fn have_ended(&self) -> bool {
        self.listener.as_ref().is_some_and(|listener| {
            let mut list = [PollFd::new(listener, PollFlags::empty())];
            poll(&mut list, Some(&Timespec::default())).is_ok() && list[0].revents().contains(PollFlags::HUP)
        })
    }

    /// Waits until all are ending or gone. The caller sets a deadline.
    pub async fn ended(&self) {
        while let Some(listener) = &self.listener {
            // It fails only if the runtime is shutting down.
            let Ok(mut ready) = listener.readable().await else { break };
            if self.have_ended() {
                return;
            }
            ready.clear_ready();
        }
        std::future::pending().await
    }

    /// The exit code of the first one if it is ending and has not been waited for. None for others, for those that a signal ends, and
    /// if the kernel does not tell.
    pub fn exit_code(&self) -> Option<i32> {
        let directory = format!("/proc/{}", self.first.as_raw_nonzero());
        // To a process without permission `stat` shows the exit code 0. `exe` tells who has permission: it can be read, or is gone.
        match readlink(format!("{directory}/exe"), Vec::new()) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(_) => return None,
        }
        let file = open(format!("{directory}/stat"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut stat = [0; 1024];
        let length = read(&file, &mut stat).ok()?;
        read_exit_code(&String::from_utf8_lossy(&stat[..length]))
    }
}

/// Reads `/proc/PID/stat`: see proc_pid_stat(5).
fn read_exit_code(stat: &str) -> Option<i32> {
    // The second field is the name, in parentheses, and may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (flags, status) = (field(9)?, field(52)?);
    (flags & EXITING != 0 && status & 0x7f == 0).then_some((status >> 8) as i32 & 0xff)
}

#[cfg(test)]
mod tests {
    use super::read_exit_code;

    fn stat(flags: u64, status: u64) -> String {
        let later = "0 ".repeat(42);
        format!("7 (a) R 1) R 1 7 7 0 -1 {flags} {later}{status}\n")
    }

    #[test]
    fn a_process_past_its_last_instruction_has_an_exit_code() {
        assert_eq!(read_exit_code(&stat(0x40_0104, 3 << 8)), Some(3));
        assert_eq!(read_exit_code(&stat(4, 0)), Some(0));
    }

    #[test]
    fn all_others_have_none() {
        for stat in [stat(0, 0), stat(4, 9), String::new(), "7 (a) R 1".to_owned()] {
            assert_eq!(read_exit_code(&stat), None, "{stat}");
        }
    }
}
