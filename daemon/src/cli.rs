//! The commands, one module each.

mod serve;
mod start_up;

mod exec;

mod doctor;
mod logs;
mod status;

mod client;

mod config;
mod control;
mod preload;

mod interpreter;
mod services;
mod spawner;

mod completions;
mod man;

mod running;
mod terminal;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::waiting::Waiting;
use services::{NAME, Service, cannot_start, configured};

/// Gives AI clients isolated Python over MCP
#[derive(Debug, Parser)]
#[command(name = NAME, version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run Python code as a client would, and print its output
    Exec(exec::Arguments),
    /// Show the daemon's clients, interpreter and latest calls
    Status(status::Arguments),
    /// Check the installation, and say how to fix what is wrong
    Doctor(doctor::Arguments),
    /// Show the logs of the daemon and the interpreter
    Logs(logs::Arguments),
    /// Make the daemon and the interpreter read their settings again, without disturbing clients
    Reload(control::Reload),
    /// Stop the daemon and the interpreter; the next client starts them again
    Stop(control::Stop),
    /// Add this server to the configuration of AI clients, remove it, or list it
    Client(client::Arguments),
    /// Show or forget the modules that the interpreter has learned to import in advance
    Preload(preload::Arguments),
    /// Show and check the settings
    Config(config::Arguments),
    /// Print a shell completion script
    Completions(completions::Arguments),
    #[command(flatten)]
    Service(Box<Service>),
    /// Create slots for the embedded interpreter
    #[command(hide = true)]
    Spawner(spawner::Arguments),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::Arguments),
}

pub fn run() -> anyhow::Result<ExitCode> {
    // Help and wrong flags end here, before a wrong file could hide them.
    let matches = command().try_get_matches().unwrap_or_else(refuse);
    let matches = match is_configured(&matches) {
        true => match configured(command()) {
            Ok(command) => command.try_get_matches().unwrap_or_else(refuse),
            Err(error) => {
                let error = error.into();
                complain(&error);
                Waiting::inherited().turn_away(&cannot_start(&format!("{error:#}")));
                return Ok(ExitCode::FAILURE);
            }
        },
        false => matches,
    };
    match Arguments::from_arg_matches(&matches)?.command {
        Command::Service(service) => match *service {
            Service::Serve(arguments) => serve::run(arguments),
            Service::Interpreter(arguments) => interpreter::run(arguments),
        },
        Command::Exec(arguments) => exec::run(arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Reload(arguments) => control::reload(&arguments),
        Command::Stop(arguments) => control::stop(&arguments),
        Command::Client(arguments) => client::run(arguments),
        Command::Preload(arguments) => preload::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Completions(arguments) => completions::run(arguments, &command()),
        Command::Man(arguments) => man::run(arguments, command()),
        Command::Spawner(arguments) => spawner::run(arguments),
    }
}

/// Prints help, or what is wrong with the command line, and ends the process. Clients that wait for it to serve get the reason.
fn refuse(error: clap::Error) -> ArgMatches {
    // Before the clients are answered: they look for the reason in the log.
    let _ = error.print();
    if error.use_stderr() {
        // The first line only: the rest is usage, and no client wrote the command line.
        let text = error.to_string();
        let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Waiting::inherited().turn_away(&cannot_start(reason));
    }
    std::process::exit(error.exit_code())
}

/// Prints the error without the stack trace that `main` would add where RUST_BACKTRACE is set. A closed stderr is ignored.
pub fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "{NAME}: {error:#}");
}

/// The command line without the configuration file.
fn command() -> clap::Command {
    Arguments::command()
}

fn is_configured(matches: &ArgMatches) -> bool {
    matches!(matches.subcommand_name(), Some("serve" | "interpreter"))
}
