//! `python-interpreter-mcpd`: the daemon that gives a user's AI clients isolated Python, and the commands around it.

use std::process::ExitCode;

use python_interpreter_mcpd::cli;

fn main() -> ExitCode {
    cli::run().unwrap_or_else(|error| {
        cli::complain(&error);
        ExitCode::FAILURE
    })
}
