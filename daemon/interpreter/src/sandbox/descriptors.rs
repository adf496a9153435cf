//! Open file descriptors are access: each process of a sandbox starts with those it needs, and programs with three.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use tokio::io::unix::AsyncFd;

/// Has `command` find `descriptor` as its descriptor `number`.
pub fn pass_on(command: &mut Command, descriptor: OwnedFd, number: RawFd) {
    let act = move || {
        // SAFETY: dup2 takes numbers; the new one is open in the child alone, and after an exec nobody else's.
        match unsafe { libc::dup2(descriptor.as_raw_fd(), number) } {
            new if new == number => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: dup2 may be called between fork and exec.
    unsafe { command.pre_exec(act) };
}

/// Closes every descriptor but `kept`, with /dev/null as standard input, output and error.
///
/// For the child of a clone without exec, whose copies of the parent's descriptors nothing else closes. The caller must not
/// use any other descriptor again.
pub fn keep_only(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // By itself, before it would be closed unasked.
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

/// Has the runtime wait for `descriptor`.
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd stays open and the same file until it is dropped, and only together with the AsyncFd.
    Ok(unsafe { AsyncFd::register(descriptor) }?)
}

fn close_range(first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: takes numbers only; that nobody uses what it closes is the callers' contract.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
