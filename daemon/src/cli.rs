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

mod interpreter;
mod limits;
mod spawner;

mod completions;
mod man;

mod running;
mod terminal;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{layered, read};
use crate::waiting::Waiting;

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
    /// Serve MCP clients on the user's socket. Started automatically by clients; rarely run by hand
    Serve(serve::Arguments),
    /// Run Python code as a client would, and print its output
    Exec(exec::Arguments),
    /// Show the daemon's clients, interpreter and latest executions
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
    /// Show and check the settings
    Config(config::Arguments),
    /// Serve the embedded interpreter's API
    Interpreter(interpreter::Arguments),
    /// Print a shell completion script
    Completions(completions::Arguments),
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
        true => match configured() {
            Ok(command) => command.try_get_matches().unwrap_or_else(refuse),
            Err(error) => {
                complain(&error);
                Waiting::inherited().turn_away(&cannot_start(&format!("{error:#}")));
                return Ok(ExitCode::FAILURE);
            }
        },
        false => matches,
    };
    match Arguments::from_arg_matches(&matches)?.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Exec(arguments) => exec::run(arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Reload(arguments) => control::reload(&arguments),
        Command::Stop(arguments) => control::stop(&arguments),
        Command::Client(arguments) => client::run(arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Interpreter(arguments) => interpreter::run(arguments),
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

/// The error that waiting clients get.
fn cannot_start(reason: &str) -> String {
    format!("The {NAME} process cannot start: {reason}. Nothing was run.")
}

/// Prints the error without the stack trace that `main` would add where RUST_BACKTRACE is set. A closed stderr is ignored.
pub fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "{NAME}: {error:#}");
}

/// The command line without the configuration file.
fn command() -> clap::Command {
    Arguments::command()
}

fn configured() -> anyhow::Result<clap::Command> {
    Ok(match read()? {
        Some(file) => layered(command(), &file)?,
        None => command(),
    })
}

fn is_configured(matches: &ArgMatches) -> bool {
    matches!(matches.subcommand_name(), Some("serve" | "interpreter"))
}

/// The settings of `serve` with the same flags and environment, and the configuration file as it is now.
fn serve_again() -> anyhow::Result<serve::Arguments> {
    serve_with(std::env::args_os())
}

/// The settings of `serve` without flags.
fn serve_without_flags() -> anyhow::Result<serve::Arguments> {
    serve_with([NAME.into(), "serve".into()])
}

fn serve_with(line: impl IntoIterator<Item = OsString>) -> anyhow::Result<serve::Arguments> {
    let matches = configured()?.try_get_matches_from(line)?;
    match Arguments::from_arg_matches(&matches)?.command {
        Command::Serve(arguments) => Ok(arguments),
        _ => anyhow::bail!("this process does not serve"),
    }
}

/// The settings of `interpreter` with the same flags and environment, and the configuration file as it is now.
fn interpreter_again() -> anyhow::Result<interpreter::Arguments> {
    interpreter_with(std::env::args_os())
}

/// The settings of `interpreter` without flags.
fn interpreter_without_flags() -> anyhow::Result<interpreter::Arguments> {
    interpreter_with(["python-interpreter-mcpd".into(), "interpreter".into()])
}

fn interpreter_with(line: impl IntoIterator<Item = OsString>) -> anyhow::Result<interpreter::Arguments> {
    match Arguments::from_arg_matches(&configured()?.try_get_matches_from(line)?)?.command {
        Command::Interpreter(arguments) => Ok(arguments),
        _ => anyhow::bail!("this process is no interpreter"),
    }
}
