//! The limits of programs as settings of `interpreter`.

use std::time::Duration;

use clap::value_parser;
use python_interpreter::limits::Limits;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// Sizes take K, M and G: 512M.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct LimitArguments {
    /// Longest time that a program may take, in seconds
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_TIMEOUT", value_name = "SECONDS", default_value_t = 300,
          value_parser = value_parser!(u64).range(1..=86_400))]
    timeout: u64,

    /// Longest processor time of a process, in seconds
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_CPU_TIME", value_name = "SECONDS", default_value_t = 1200,
          value_parser = value_parser!(u64).range(1..=864_000))]
    cpu_time: u64,

    /// Memory of all processes of a program together
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_MEMORY", value_name = "SIZE", default_value = "2G",
          value_parser = |text: &str| size(text, 64 * MIB, TIB))]
    memory: u64,

    /// Memory of all programs together; a call that could exceed it waits [default: three quarters of the machine's]
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_TOTAL_MEMORY", value_name = "SIZE",
          value_parser = |text: &str| size(text, 64 * MIB, 1024 * TIB))]
    total_memory: Option<u64>,

    /// Address space of each process where no control group bounds memory, beyond what it starts with [default: twice --memory]
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_ADDRESS_SPACE", value_name = "SIZE",
          value_parser = |text: &str| size(text, 64 * MIB, 1024 * TIB))]
    address_space: Option<u64>,

    /// Processes and threads of a program
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_PROCESSES", value_name = "NUMBER", default_value_t = 256,
          value_parser = value_parser!(u64).range(4..=32_768))]
    processes: u64,

    /// Largest file that a program may write
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_FILE_SIZE", value_name = "SIZE", default_value = "256M",
          value_parser = |text: &str| size(text, MIB, TIB))]
    file_size: u64,

    /// /workspace, /tmp and /dev/shm of a program together, which are in memory
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_WORKSPACE", value_name = "SIZE", default_value = "512M",
          value_parser = |text: &str| size(text, MIB, TIB))]
    workspace: u64,

    /// Files and directories in the same three places together
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_WORKSPACE_FILES", value_name = "NUMBER", default_value_t = 65_536,
          value_parser = value_parser!(u64).range(64..=16_777_216))]
    workspace_files: u64,

    /// Open files of each process of a program
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_OPEN_FILES", value_name = "NUMBER", default_value_t = 256,
          value_parser = value_parser!(u64).range(16..=1_048_576))]
    open_files: u64,

    /// How much of each of stdout and stderr an answer holds
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_OUTPUT", value_name = "SIZE", default_value = "1M",
          value_parser = |text: &str| size(text, KIB, 16 * MIB))]
    output: u64,

    /// How much of each of stdout and stderr is stored as a file where an answer does not hold all of it
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_OUTPUT_FILE", value_name = "SIZE", default_value = "64M",
          value_parser = |text: &str| size(text, 0, GIB))]
    output_file: u64,

    /// Files that a program may return
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_RETURNED_FILES", value_name = "NUMBER", default_value_t = 1000,
          value_parser = value_parser!(u64).range(0..=20_000))]
    returned_files: u64,
}

impl LimitArguments {
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: Duration::from_secs(self.timeout),
            cpu_time: Duration::from_secs(self.cpu_time),
            memory: self.memory,
            total_memory: self.total_memory.unwrap_or_else(|| Limits::default().total_memory),
            address_space: self.address_space.unwrap_or(self.memory.saturating_mul(2)),
            processes: self.processes,
            file_size: self.file_size,
            workspace: self.workspace,
            workspace_files: self.workspace_files,
            open_files: self.open_files,
            output: self.output as usize,
            output_file: self.output_file,
            returned_files: self.returned_files as usize,
        }
    }
}

/// A number of bytes, as 1048576, 1024K, 1M.
fn size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 1,
        "K" | "KIB" => KIB,
        "M" | "MIB" => MIB,
        "G" | "GIB" => GIB,
        _ => return Err("it is no size, as 512M or 1G".to_owned()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes) if (least..=most).contains(&bytes) => Ok(bytes),
        Some(_) => Err(format!("it must be from {least} to {most} bytes")),
        None => Err("it is no size, as 512M or 1G".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use python_interpreter::limits::Limits;

    use super::{LimitArguments, size};

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        limits: LimitArguments,
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let command = Command::try_parse_from(["interpreter"]).ok().unwrap();
        assert_eq!(command.limits.limits(), Limits::default());
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(
            ["512M", "1G", "2GiB", "4096", "8k"].map(|text| size(text, 0, u64::MAX).ok()),
            [Some(512 << 20), Some(1 << 30), Some(2 << 30), Some(4096), Some(8192)]
        );
        for wrong in ["", "M", "1T", "-1", "1.5G", "99999999999999999999G"] {
            assert!(size(wrong, 0, u64::MAX).is_err(), "{wrong}");
        }
        assert!(size("1M", 2 << 20, 4 << 20).unwrap_err().contains("from 2097152"));
    }
}
