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
    /// Serve MCP clients on the user's socket (how clients start it: they need not be told)
    Serve(serve::Arguments),
    /// Run Python code as a client would, and print what it prints
    Exec(exec::Arguments),
    /// Show what the daemon does: clients, interpreter, what ended last
    Status(status::Arguments),
    /// Find out what is wrong, and what to do about it
    Doctor(doctor::Arguments),
    /// Show what has been logged
    Logs(logs::Arguments),
    /// Have the daemon, and by it the interpreter, read their settings again; no client notices
    Reload(control::Reload),
    /// End the daemon and the interpreter; the next client starts them
    Stop(control::Stop),
    /// Add this server to AI clients' configuration, remove it, or show where it is
    Client(client::Arguments),
    /// Look at the settings
    Config(config::Arguments),
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
    // Help and mistakes end here, before a mistake in the file could hide them.
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

/// Help, or what is wrong with the command line, which whoever waits for this process to serve need not wait for any more.
fn refuse(error: clap::Error) -> ArgMatches {
    // Said first: whoever is turned away looks for the reason.
    let _ = error.print();
    if error.use_stderr() {
        // Without what to try on a command line, which nobody there has written.
        let text = error.to_string();
        let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Waiting::inherited().turn_away(&cannot_start(reason));
    }
    std::process::exit(error.exit_code())
}

/// What those are told who wait for a process that cannot start.
fn cannot_start(reason: &str) -> String {
    format!("The {NAME} process cannot start: {reason}. Nothing was run.")
}

/// Not as `main` would return it, which adds a stack trace where RUST_BACKTRACE is set. A closed stderr is nobody's loss.
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

/// The settings of `serve` once more: the same flags and environment, and the configuration file as it is now.
fn serve_again() -> anyhow::Result<serve::Arguments> {
    serve_with(std::env::args_os())
}

/// The settings of `serve` as they would be without flags.
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

/// The settings of `interpreter` once more.
fn interpreter_again() -> anyhow::Result<interpreter::Arguments> {
    interpreter_with(std::env::args_os())
}

/// The settings of `interpreter` as they would be without flags.
fn interpreter_without_flags() -> anyhow::Result<interpreter::Arguments> {
    interpreter_with(["python-interpreter-mcpd".into(), "interpreter".into()])
}

fn interpreter_with(line: impl IntoIterator<Item = OsString>) -> anyhow::Result<interpreter::Arguments> {
    match Arguments::from_arg_matches(&configured()?.try_get_matches_from(line)?)?.command {
        Command::Interpreter(arguments) => Ok(arguments),
        _ => anyhow::bail!("this process is no interpreter"),
    }
}
