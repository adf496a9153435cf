//! The commands, one module each.

mod exec;
mod interpreter;
mod limits;
mod serve;
mod spawner;
mod start_up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::listener::Waiting;

/// Gives AI clients isolated Python over MCP
#[derive(Debug, Parser)]
#[command(name = "python-interpreter-mcpd", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MCP clients on the user's socket (how clients start it: they need not be told)
    Serve(serve::Arguments),
    /// Run Python code as a client would, and print what it prints
    Exec(exec::Arguments),
    /// Serve the embedded interpreter's API
    Interpreter(interpreter::Arguments),
    /// Make slots for the embedded interpreter
    #[command(hide = true)]
    Spawner(spawner::Arguments),
}

pub fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() {
            Waiting::inherited().turn_away();
        }
        error.exit()
    });
    match arguments.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Exec(arguments) => exec::run(arguments),
        Command::Interpreter(arguments) => interpreter::run(arguments),
        Command::Spawner(arguments) => spawner::run(arguments),
    }
}
