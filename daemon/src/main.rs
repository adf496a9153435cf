//! `python-interpreter-mcpd`: the daemon that gives a user's AI clients isolated Python, and the commands around it.

mod cli;
mod config;
mod http;
mod listener;
mod sessions;
mod transport;

mod server;
mod tools;
mod turns;

mod pictures;
mod resources;
mod tasks;

mod interpreter_api;

mod metrics;
mod status;

mod logging;
mod systemd;

use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().unwrap_or_else(|error| {
        // Not as `main` would return it, which adds a stack trace where RUST_BACKTRACE is set. A closed stderr is nobody's loss.
        let _ = writeln!(io::stderr(), "python-interpreter-mcpd: {error:#}");
        ExitCode::FAILURE
    })
}
