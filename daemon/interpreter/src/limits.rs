//! The limits of one execution: each is one field here, with its flag, variable, default and help text. The kernel enforces those in
//! `sandbox/` and `control_group`, `memory` and `total` those of memory, `run` the time limit, `output` and `whole` those of output, and
//! `collect` those of files. `explain` names a limit that was met.

use std::fmt;
use std::fs;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{RangedU64ValueParser, TypedValueParser};
use clap::value_parser;
use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// A number of bytes. Its text takes the units K, M and G: 512M.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Size(pub u64);

/// How long executions may take and how many run at once: settings of the daemon and of the interpreter.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct ExecutionLimits {
    /// How long one execution may take
    #[arg(long, value_name = "SECONDS", env = "PYTHON_INTERPRETER_MCP_TIMEOUT", default_value = "300", value_parser = seconds(1..=MAX_TIMEOUT_SECONDS))]
    pub timeout: Duration,

    /// How many executions run at the same time; further ones wait for their turn [default: twice the number of CPUs, at least 8; 64 if interpreter_url is set]
    #[arg(long, value_name = "NUMBER", env = "PYTHON_INTERPRETER_MCP_CONCURRENCY", value_parser = value_parser!(u16).range(1..=1024))]
    pub concurrency: Option<u16>,
}

/// The largest `timeout`.
pub const MAX_TIMEOUT_SECONDS: u64 = 24 * 60 * 60;

impl ExecutionLimits {
    /// Programs that wait for something leave the CPU to others, so that more run than there are CPUs.
    pub fn concurrency(&self) -> usize {
        let default = || std::thread::available_parallelism().map_or(8, |cpus| (2 * cpus.get()).max(8));
        self.concurrency.map_or_else(default, usize::from)
    }
}

/// What one execution may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[group(skip)]
pub struct Limits {
    // The field of [`ExecutionLimits`], which the interpreter's settings copy here. A call's own `timeout_seconds` can only shorten it.
    #[arg(skip)]
    pub timeout: Duration,

    // RLIMIT_CPU.
    /// CPU time of each process
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_CPU_TIME", value_name = "SECONDS", default_value = "1200", value_parser = seconds(1..=864_000))]
    pub cpu_time: Duration,

    /// Memory of all processes of an execution together, including its files
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_MEMORY", value_name = "SIZE", default_value = "2G", value_parser = size(64 * MIB, TIB))]
    pub memory: Size,

    /// Memory of all executions together; a call that could exceed it waits [default: three quarters of the machine's memory]
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_TOTAL_MEMORY", value_name = "SIZE", value_parser = size(64 * MIB, 1024 * TIB))]
    pub total_memory: Option<Size>,

    // RLIMIT_AS. Some libraries reserve much more than they use.
    /// Address space that a process may add to what it starts with, if no control group limits memory [default: twice the memory]
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_ADDRESS_SPACE", value_name = "SIZE", value_parser = size(64 * MIB, 1024 * TIB))]
    pub address_space: Option<Size>,

    // RLIMIT_NPROC, counted in the slot's own user namespace.
    /// Processes and threads of an execution
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_PROCESSES", value_name = "NUMBER", default_value_t = 256, value_parser = value_parser!(u64).range(4..=32_768))]
    pub processes: u64,

    // RLIMIT_FSIZE.
    /// Largest file that an execution may write
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_FILE_SIZE", value_name = "SIZE", default_value = "256M", value_parser = size(MIB, TIB))]
    pub file_size: Size,

    /// All files in /workspace, /tmp and /dev/shm together; they are in memory
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_WORKSPACE", value_name = "SIZE", default_value = "512M", value_parser = size(MIB, TIB))]
    pub workspace: Size,

    /// Number of files and directories in these three places together
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_WORKSPACE_FILES", value_name = "NUMBER", default_value_t = 65_536, value_parser = value_parser!(u64).range(64..=16_777_216))]
    pub workspace_files: u64,

    // RLIMIT_NOFILE. Also bounds the descriptors in flight between processes, which the kernel counts for the user as a whole.
    /// Open files of each process
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_OPEN_FILES", value_name = "NUMBER", default_value_t = 256, value_parser = value_parser!(u64).range(16..=1_048_576))]
    pub open_files: u64,

    /// How much of each of stdout and stderr the answer holds
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_OUTPUT", value_name = "SIZE", default_value = "1M", value_parser = size(1024, 16 * MIB))]
    pub output: Size,

    /// How much of each of stdout and stderr is stored as a file if the answer does not hold all of it
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_OUTPUT_FILE", value_name = "SIZE", default_value = "64M", value_parser = size(0, GIB))]
    pub output_file: Size,

    /// Number of files that an execution may return
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_RETURNED_FILES", value_name = "NUMBER", default_value_t = 1000, value_parser = value_parser!(u64).range(0..=20_000))]
    pub returned_files: u64,
}

impl Limits {
    /// Bytes of memory of all executions together.
    pub fn total_memory(&self) -> u64 {
        self.total_memory.map_or_else(|| machine_memory() / 4 * 3, |size| size.0)
    }

    /// Bytes of address space that each process may add, if no control group limits memory.
    pub fn address_space(&self) -> u64 {
        self.address_space.map_or(self.memory.0.saturating_mul(2), |size| size.0)
    }
}

fn seconds(range: std::ops::RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    RangedU64ValueParser::<u64>::new().range(range).map(Duration::from_secs)
}

fn size(least: u64, most: u64) -> impl Fn(&str) -> Result<Size, String> + Clone + Send + Sync + 'static {
    move |text: &str| match text.parse::<Size>()? {
        size if (least..=most).contains(&size.0) => Ok(size),
        _ => Err(format!("it must be from {} to {}", shown(least), shown(most))),
    }
}

/// Bytes in the largest unit that divides them.
fn shown(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(GIB) => format!("{}G", bytes / GIB),
        _ if bytes.is_multiple_of(MIB) => format!("{}M", bytes / MIB),
        _ => format!("{}K", bytes / 1024),
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
            "" => Some(1),
            "K" | "KIB" => Some(1024),
            "M" | "MIB" => Some(MIB),
            "G" | "GIB" => Some(GIB),
            _ => None,
        };
        let bytes = unit.and_then(|unit| digits.parse::<u64>().ok()?.checked_mul(unit));
        bytes.map(Self).ok_or_else(|| "it is not a size such as 512M or 1G".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
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

#[cfg(test)]
pub mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    /// The limits without flags, environment and file.
    pub fn defaults() -> Limits {
        let command = Limits::augment_args(Command::new("")).mut_args(|argument| argument.env(None));
        let limits = Limits::from_arg_matches(&command.get_matches_from([""])).unwrap();
        Limits { timeout: Duration::from_secs(300), ..limits }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("512M", 512 << 20), ("1G", 1 << 30), ("2GiB", 2 << 30), ("4096", 4096), ("8k", 8192)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for wrong in ["", "M", "1T", "-1", "1.5G", "99999999999999999999G"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert!(size(2 << 20, 4 << 20)("1M").unwrap_err().contains("from 2M to 4M"));
    }

    #[test]
    fn limits_that_are_not_set_follow_from_others() {
        let limits = defaults();
        assert_eq!((limits.memory, limits.address_space()), (Size(2 << 30), 4 << 30));
        assert_eq!(Limits { address_space: Some(Size(1 << 30)), ..limits }.address_space(), 1 << 30);
    }
}
