//! One clone into all of a sandbox's namespaces, and the signal dispositions of both processes.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Pid;

/// The first process in new namespaces.
pub struct Cloned {
    /// In the parent's pid namespace.
    pub pid: Pid,
    /// Killing the process kills everything in its pid namespace.
    pub pidfd: OwnedFd,
}

/// Clones this process into new user, pid, mount, ipc and uts namespaces, and those of `more` (CLONE_NEW* flags). Returns `None` in the child.
///
/// One clone makes all of them, because mounting /proc needs a pid namespace that belongs to the user namespace. Only a process with a
/// single thread may call it: the child has a copy of its memory, with every lock that another thread holds.
pub fn clone_into_namespaces(more: libc::c_int) -> io::Result<Option<Cloned>> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | more
        | libc::CLONE_PIDFD;
    // SAFETY: clone_args is valid when zeroed.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags as u64;
    arguments.pidfd = &raw mut pidfd as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: the arguments outlive the call, and without CLONE_VM the child has its own copy of the memory.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match result {
        0 => Ok(None),
        pid if pid > 0 => {
            let pid = Pid::from_raw(pid as i32).ok_or_else(|| io::Error::other("clone3 returned no process id"))?;
            // SAFETY: the kernel has just opened this descriptor, and nothing else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(Cloned { pid, pidfd }))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ignores SIGCHLD, so that the kernel reaps this process's children.
pub fn auto_reap() {
    // SAFETY: sets a disposition; no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Sleeps until a signal arrives.
pub fn pause() {
    // SAFETY: pause has no arguments.
    unsafe { libc::pause() };
}

/// Blocks SIGCHLD and returns a non-blocking signalfd for it.
pub fn block_child_signal() -> io::Result<OwnedFd> {
    // SAFETY: a zeroed sigset_t is a valid, empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    // SAFETY: the set outlives the call.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    // SAFETY: the set outlives the call.
    match unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) } {
        // SAFETY: the kernel has just opened this descriptor, and nothing else owns it.
        descriptor if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Blocks SIGHUP, SIGINT, SIGQUIT and SIGTERM. The interpreter receives them as well, and ends its programs in its own time.
pub fn block_termination_signals() -> io::Result<()> {
    // SAFETY: a zeroed sigset_t is a valid, empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: the set is valid.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: the set outlives the call.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Starts `command` with these signals blocked. They must not be ignored instead: Python and its children would keep that disposition.
pub fn start_with_termination_signals_blocked(command: &mut Command) {
    // SAFETY: the function only makes a system call, which is allowed between fork and exec.
    unsafe { command.pre_exec(block_termination_signals) };
}

/// Resets every signal to its default action and unblocks all. Programs must not inherit the dispositions of whatever started the
/// interpreter.
pub fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: sets a disposition; no handler is installed. It fails for SIGKILL and SIGSTOP, which have no disposition.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: a zeroed sigset_t is a valid, empty set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set outlives the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}
