//! One clone into all of a sandbox's namespaces, and what its two sides need of signals.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Pid;

use super::Network;

/// The first process in new namespaces, as its parent sees it.
pub struct Child {
    pub pid: Pid,
    /// Kills and waits for exactly this process; killing it ends its pid namespace with everything in it.
    pub pidfd: OwnedFd,
}

/// Clones this process into new user, pid, mount, ipc and uts namespaces, an own network if there is to be `none`, and with `outer`
/// a cgroup namespace: `None` in the child.
///
/// One clone for all, because mounting /proc needs a pid namespace that belongs to the user namespace. Only a process with a
/// single thread may call it: the child goes on with a copy of its memory.
pub fn clone_into_namespaces(network: Network, outer: bool) -> io::Result<Option<Child>> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | if network == Network::None { libc::CLONE_NEWNET } else { 0 }
        | if outer { libc::CLONE_NEWCGROUP } else { 0 }
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

/// Lets the kernel reap whatever becomes this process's child.
pub fn auto_reap() {
    // SAFETY: sets a disposition; no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Sleeps until a signal arrives.
pub fn pause() {
    // SAFETY: takes nothing.
    unsafe { libc::pause() };
}

/// Has the ends of children come as something to read, and not as a signal.
pub fn child_ends() -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a valid, empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    // SAFETY: the set outlives the call.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    // SAFETY: the set outlives the call.
    match unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) } {
        // SAFETY: a new descriptor that nobody else owns.
        descriptor if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Blocks the signals by which people and service managers ask for an end. The interpreter has them too, and ends its programs when
/// it is their time.
pub fn block_requests_to_end() -> io::Result<()> {
    // SAFETY: all-zero is a valid, empty set.
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

/// Has `command` start with them blocked. Not ignored: a Python that finds them so leaves them so, and its children with it.
pub fn start_without_requests_to_end(command: &mut Command) {
    // SAFETY: only a system call, which may be made between fork and exec.
    unsafe { command.pre_exec(block_requests_to_end) };
}

/// Gives every signal its default action again and blocks none: programs must not inherit what whoever started the interpreter
/// chose to ignore.
pub fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: sets a disposition; no handler is installed. Those that cannot be set stay as they are.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: all-zero is a valid, empty set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set outlives the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}
