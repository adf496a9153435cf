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

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().unwrap_or_else(|error| {
        cli::complain(&error);
        ExitCode::FAILURE
    })
}
