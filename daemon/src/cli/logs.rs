//! `logs`: shows the logs of the daemon and the embedded interpreter, from the journal if systemd runs them, else from their files.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use python_interpreter_mcp::endpoint;

const UNITS: [&str; 2] = ["python-interpreter-mcpd.service", "python-interpreter.service"];
const FILES: [&str; 2] = ["daemon.log", "interpreter.log"];

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Follow the logs until interrupted
    #[arg(short, long)]
    follow: bool,

    /// How many lines to show
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 100)]
    lines: u32,
}

/// Replaces this process with the program that shows the logs.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let lines = arguments.lines.to_string();
    let mut command = if systemd_runs_them() { journal(&lines) } else { files(&lines)? };
    if arguments.follow {
        // By name, because a log that has grown is renamed.
        command.arg(if command.get_program() == "tail" { "-F" } else { "--follow" });
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(command.exec()).with_context(|| format!("{program} cannot be started"))
}

/// Whether one of the units runs, or has run in this session.
fn systemd_runs_them() -> bool {
    let has_run = |unit: &&str| endpoint::unit_property(unit, "InvocationID").is_some_and(|id| !id.is_empty());
    UNITS.iter().any(has_run)
}

fn journal(lines: &str) -> Command {
    let mut command = Command::new("journalctl");
    command.args(["--user", "--lines", lines]);
    for unit in UNITS {
        command.args(["--user-unit", unit]);
    }
    command
}

fn files(lines: &str) -> anyhow::Result<Command> {
    let Some(directory) = endpoint::state_directory() else {
        bail!("there is no directory for logs: set HOME, or XDG_STATE_HOME to a directory that can be written to");
    };
    let there: Vec<_> = FILES.iter().map(|name| directory.join(name)).filter(|path| Path::exists(path)).collect();
    if there.is_empty() {
        bail!("nothing has been logged yet in {}", directory.display());
    }
    let mut command = Command::new("tail");
    command.args(["-n", lines]).args(there);
    Ok(command)
}
