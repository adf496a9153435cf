//! One clone into all of a slot's namespaces, and what its two sides need of signals.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// The first process of a new slot, as its parent sees it.
pub struct Child {
    pub pid: Pid,
    /// Kills and waits for exactly this process; killing it ends its pid namespace with everything in it.
    pub pidfd: OwnedFd,
}

/// Clones this process into new user, pid, mount, network, ipc, uts and cgroup namespaces: `None` in the child.
///
/// One clone for all, because mounting /proc needs a pid namespace that belongs to the user namespace. Only a process with a
/// single thread may call it: the child goes on with a copy of its memory.
pub fn clone_into_namespaces() -> io::Result<Option<Child>> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_PIDFD;
    // SAFETY: all-zero is a valid clone_args.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags as u64;
    arguments.pidfd = &raw mut pidfd as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: the arguments outlive the call, and without CLONE_VM the child has its own copy of all memory.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match result {
        0 => Ok(None),
        pid if pid > 0 => {
            let pid = Pid::from_raw(pid as i32).ok_or_else(|| io::Error::other("clone3 returned no process id"))?;
            // SAFETY: the kernel has just stored a new descriptor here that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(Child { pid, pidfd }))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the kernel reap this process's children; their ends are seen through pidfds.
pub fn reap_children_automatically() {
    // SAFETY: sets a disposition; no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Gives every signal its default action again, in the slot: its first process waits for Python, and programs must not inherit
/// what whoever started the interpreter chose to ignore.
pub fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: sets a disposition; no handler is installed. Those that cannot be set stay as they are.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
