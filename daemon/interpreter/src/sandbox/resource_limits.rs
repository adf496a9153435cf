//! Resource limits (setrlimit), inherited by every process of the program and never raised again.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::limits::Limits;

pub fn apply(limits: &Limits) -> io::Result<()> {
    let list = [
        (Resource::As, limits.memory),
        (Resource::Nproc, limits.processes),
        (Resource::Fsize, limits.file_size),
        (Resource::Nofile, limits.open_files),
        // No core file, and at 1 the kernel also leaves out a crash handler that is piped to, which at 0 it would start.
        (Resource::Core, 1),
        // Counted for the user, not for the slot: what programs take here, the user's own processes miss.
        (Resource::Sigpending, 256),
        // Memory outside RLIMIT_AS: locked pages and POSIX message queues.
        (Resource::Memlock, 64 * 1024),
        (Resource::Msgqueue, 0),
        // No raising of its own priority above what it was given.
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
    ];
    for (resource, value) in list {
        // What the user already limits more tightly stays so.
        let hard = rustix::process::getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    }
    Ok(())
}
