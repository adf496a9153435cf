//! The commands, one module each.

mod client;
mod completions;
mod exec;
mod interpreter;
mod limits;
mod man;
mod serve;
mod spawner;
mod start_up;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

const NAME: &str = "python-interpreter-mcpd";

/// Gives AI clients isolated Python over MCP
#[derive(Debug, Parser)]
#[command(name = NAME, version, arg_required_else_help = true)]
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
    /// Add this server to AI clients' configuration, remove it, or show where it is
    Client(client::Arguments),
    /// Serve the embedded interpreter's API
    Interpreter(interpreter::Arguments),
    /// Print what makes a shell complete these commands
    Completions(completions::Arguments),
    /// Make slots for the embedded interpreter
    #[command(hide = true)]
    Spawner(spawner::Arguments),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::Arguments),
}

pub fn run() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Exec(arguments) => exec::run(arguments),
        Command::Client(arguments) => client::run(arguments),
        Command::Interpreter(arguments) => interpreter::run(arguments),
        Command::Completions(arguments) => completions::run(arguments, &Arguments::command()),
        Command::Man(arguments) => man::run(arguments, Arguments::command()),
        Command::Spawner(arguments) => spawner::run(arguments),
    }
}
