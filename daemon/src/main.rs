//! `python-interpreter-mcpd`: the daemon that gives a user's AI clients isolated Python, and the commands around it.

mod cli;
mod config;
mod listener;
mod sessions;
mod transport;

mod server;
mod tools;

mod interpreter_api;

mod logging;
mod systemd;

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    cli::run()
}
