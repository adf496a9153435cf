//! Open file descriptors grant access, so each process of a sandbox keeps only those that it needs. A program starts with three.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use tokio::io::unix::AsyncFd;

/// Starts `command` with `descriptor` as its descriptor `number`.
pub fn pass_on(command: &mut Command, descriptor: OwnedFd, number: RawFd) {
    let act = move || {
        // SAFETY: dup2 takes numbers. The new descriptor exists in the child only, which then calls exec.
        match unsafe { libc::dup2(descriptor.as_raw_fd(), number) } {
            new if new == number => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure only calls dup2, which is allowed between fork and exec.
    unsafe { command.pre_exec(act) };
}

/// Closes every descriptor but `kept`, and opens /dev/null as standard input, output and error.
///
/// For the child of a clone without exec: nothing else closes its copies of the parent's descriptors. The caller must not use any other
/// descriptor again.
pub fn keep_only(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // Before the loop below closes it as well.
    drop(null);
    let mut kept: Vec<_> = kept.iter().map(|fd| fd.as_raw_fd() as libc::c_uint).filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if first < fd {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, libc::c_uint::MAX, 0)
}

/// Registers `descriptor` with the runtime.
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the AsyncFd owns the OwnedFd, which stays open and the same file until it is dropped.
    Ok(unsafe { AsyncFd::register(descriptor) }?)
}

fn close_range(first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the call takes numbers. The callers make sure that nothing uses the closed descriptors.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
