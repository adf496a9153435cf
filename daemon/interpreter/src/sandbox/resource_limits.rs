//! Resource limits (setrlimit), inherited by every process of the program and never raised again.

use std::fs;
use std::io;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::limits::Limits;

/// (resource, value), each no more than what this process itself is limited to.
pub fn list(limits: &Limits) -> Vec<(u32, u64)> {
    let list = [
        (libc::RLIMIT_CPU, limits.cpu_time.as_secs()),
        (libc::RLIMIT_NPROC, limits.processes),
        (libc::RLIMIT_FSIZE, limits.file_size),
        (libc::RLIMIT_NOFILE, limits.open_files),
        // No core file, and at 1 the kernel also leaves out a crash handler that is piped to, which at 0 it would start.
        (libc::RLIMIT_CORE, 1),
        // Counted for the user, not for the slot: what programs take here, the user's own processes miss.
        (libc::RLIMIT_SIGPENDING, 256),
        // Memory of the kernel: locked pages and POSIX message queues.
        (libc::RLIMIT_MEMLOCK, 64 * 1024),
        (libc::RLIMIT_MSGQUEUE, 0),
        // No raising of its own priority above what it was given.
        (libc::RLIMIT_NICE, 0),
        (libc::RLIMIT_RTPRIO, 0),
    ];
    list.into_iter().map(|(resource, value)| (resource, value.min(own_maximum(resource)))).collect()
}

/// Lets a process that waits for its program have `more` bytes of address space than it has now. Only where no control group bounds
/// its memory: engines of JavaScript and WebAssembly reserve terabytes.
pub fn limit_address_space(process: Pid, more: u64) -> io::Result<()> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()))?;
    let size =
        status.lines().find_map(|line| line.strip_prefix("VmSize:")?.split_whitespace().next()?.parse::<u64>().ok());
    let kilobytes = size.ok_or_else(|| io::Error::other("the size of a process is not known"))?;
    let limit = Some((kilobytes * 1024).saturating_add(more).min(own_maximum(libc::RLIMIT_AS)));
    Ok(prlimit(Some(process), Resource::As, Rlimit { current: limit, maximum: limit }).map(drop)?)
}

/// What the user already limits more tightly stays so.
fn own_maximum(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the structure outlives the call; where it fails, there is no limit.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    limit.rlim_max
}
