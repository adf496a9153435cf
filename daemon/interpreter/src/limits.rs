//! The bounds of one execution, each with its default. What a bound means to the kernel is in `sandbox/` and `control_group`.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

/// What one execution may use. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest wall-clock time; a call's own `timeout_seconds` can only shorten it.
    pub timeout: Duration,
    /// Longest processor time of each process (RLIMIT_CPU).
    pub cpu_time: Duration,
    /// Memory of all processes together, what they write to `/workspace`, `/tmp` and `/dev/shm` included.
    pub memory: u64,
    /// Memory of all programs together; a call that could exceed it waits.
    pub total_memory: u64,
    /// Address space of each process beyond what it starts with (RLIMIT_AS), where no control group bounds memory. Some libraries
    /// reserve much more than they use.
    pub address_space: u64,
    /// Processes and threads together (RLIMIT_NPROC, counted in the slot's own user namespace).
    pub processes: u64,
    /// Largest file (RLIMIT_FSIZE).
    pub file_size: u64,
    /// Everything in `/workspace`, `/tmp` and `/dev/shm` together, in memory.
    pub workspace: u64,
    /// Files and directories in the same three places together.
    pub workspace_files: u64,
    /// Open files of each process (RLIMIT_NOFILE).
    pub open_files: u64,
    /// What is kept of each of stdout and stderr in the answer; the whole is a file.
    pub output: usize,
    /// How much of each of stdout and stderr the file holds; the rest is read, counted and dropped.
    pub output_file: u64,
    /// Files returned by one execution.
    pub returned_files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            timeout: Duration::from_secs(300),
            cpu_time: Duration::from_secs(1200),
            memory: 2048 * MIB,
            total_memory: machine_memory() / 4 * 3,
            address_space: 4096 * MIB,
            processes: 256,
            file_size: 256 * MIB,
            workspace: 512 * MIB,
            workspace_files: 65_536,
            // Also bounds the descriptors in flight between processes, which the kernel counts for the user as a whole.
            open_files: 256,
            output: 1024 * 1024,
            output_file: 64 * MIB,
            returned_files: 1000,
        }
    }
}

/// Bytes of the machine, or of the container.
fn machine_memory() -> u64 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = read("/proc/meminfo").lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    });
    let container = read("/sys/fs/cgroup/memory.max").trim().parse::<u64>().ok();
    machine.into_iter().chain(container).min().unwrap_or(u64::MAX)
}
