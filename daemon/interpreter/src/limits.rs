//! The limits of one execution, with their defaults. `sandbox/` and `control_group` make the kernel enforce them.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

/// What one execution may use. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest wall-clock time. A call's own `timeout_seconds` can only shorten it.
    pub timeout: Duration,
    /// Longest CPU time of each process (RLIMIT_CPU).
    pub cpu_time: Duration,
    /// Memory of all processes together, including the files in `/workspace`, `/tmp` and `/dev/shm`.
    pub memory: u64,
    /// Memory of all programs together. A call that could exceed it waits.
    pub total_memory: u64,
    /// Address space that each process may add to that at its start (RLIMIT_AS). Applies only without a control group. Some libraries
    /// reserve much more than they use.
    pub address_space: u64,
    /// Processes and threads together (RLIMIT_NPROC, counted in the slot's own user namespace).
    pub processes: u64,
    /// Largest file (RLIMIT_FSIZE).
    pub file_size: u64,
    /// All files in `/workspace`, `/tmp` and `/dev/shm` together. They are in memory.
    pub workspace: u64,
    /// Number of files and directories in these three places together.
    pub workspace_files: u64,
    /// Open files of each process (RLIMIT_NOFILE).
    pub open_files: u64,
    /// Most bytes of stdout and of stderr kept for the answer. Longer output is stored as a file.
    pub output: usize,
    /// Most bytes of stdout and of stderr in that file. The rest is read, counted and dropped.
    pub output_file: u64,
    /// Most files that one execution returns.
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
            // Also bounds the descriptors in flight between processes, which count against a limit of the user.
            open_files: 256,
            output: 1024 * 1024,
            output_file: 64 * MIB,
            returned_files: 1000,
        }
    }
}

/// Memory of the machine or of the container, in bytes.
fn machine_memory() -> u64 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = read("/proc/meminfo").lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    });
    let container = read("/sys/fs/cgroup/memory.max").trim().parse::<u64>().ok();
    machine.into_iter().chain(container).min().unwrap_or(u64::MAX)
}
