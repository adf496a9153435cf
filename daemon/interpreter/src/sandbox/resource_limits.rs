//! Resource limits (setrlimit). Every process of the program inherits them, and none can raise them.

use std::fs;
use std::io;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::limits::Limits;

/// (RLIMIT_* number, value). No value exceeds this process's own hard limit.
pub fn list(limits: &Limits) -> Vec<(u32, u64)> {
    let list = [
        (libc::RLIMIT_CPU, limits.cpu_time.as_secs()),
        (libc::RLIMIT_NPROC, limits.processes),
        (libc::RLIMIT_FSIZE, limits.file_size.0),
        (libc::RLIMIT_NOFILE, limits.open_files),
        // No core file. With 1, unlike with 0, the kernel also does not start a crash handler that core dumps are piped to.
        (libc::RLIMIT_CORE, 1),
        // Counted for the user and not for the slot, so programs take from the user's own processes.
        (libc::RLIMIT_SIGPENDING, 256),
        // Kernel memory: locked pages and POSIX message queues.
        (libc::RLIMIT_MEMLOCK, 64 * 1024),
        (libc::RLIMIT_MSGQUEUE, 0),
        // No higher priority than it was given.
        (libc::RLIMIT_NICE, 0),
        (libc::RLIMIT_RTPRIO, 0),
    ];
    list.into_iter().map(|(resource, value)| (resource, value.min(own_maximum(resource)))).collect()
}

/// Limits the address space of a process to `more` bytes above its current size. To be used only without a control group, because
/// JavaScript and WebAssembly engines reserve terabytes.
pub fn limit_address_space(process: Pid, more: u64) -> io::Result<()> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()))?;
    let size =
        status.lines().find_map(|line| line.strip_prefix("VmSize:")?.split_whitespace().next()?.parse::<u64>().ok());
    let kilobytes = size.ok_or_else(|| io::Error::other("the size of a process is not known"))?;
    let limit = Some((kilobytes * 1024).saturating_add(more).min(own_maximum(libc::RLIMIT_AS)));
    Ok(prlimit(Some(process), Resource::As, Rlimit { current: limit, maximum: limit }).map(drop)?)
}

/// This process's own hard limit.
fn own_maximum(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the structure outlives the call. If the call fails, the limit stays infinite.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    limit.rlim_max
}
