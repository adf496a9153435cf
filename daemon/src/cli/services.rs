//! The two commands that run as services, with their settings: parsed from flags, environment and configuration file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use python_interpreter::Network;
use python_interpreter::limits::{ExecutionLimits, Limits};
use python_interpreter::mounts::Mount;

use crate::config::{self, Settings};
use crate::idle_exit::IdleExit;
use crate::logging;

pub const NAME: &str = "python-interpreter-mcpd";

#[derive(Debug, Parser)]
#[command(name = NAME)]
struct Services {
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, Subcommand)]
pub enum Service {
    /// Serve MCP clients on the user's socket. Started automatically by clients; rarely run by hand
    Serve(ServeArguments),
    /// Serve the embedded interpreter's API
    Interpreter(InterpreterArguments),
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct ServeArguments {
    #[command(flatten)]
    pub settings: Settings,

    /// Detach from the terminal and exit when idle; clients start it with this
    #[arg(long)]
    pub background: bool,
}

/// In the place of a module: the ordinary modules, and those that programs import again and again.
pub const AUTO: &str = "auto";

/// The modules of the standard library that most programs import, counted in 3,800 public ones: examples of Real Python, TheAlgorithms/Python
/// and the Python Data Science Handbook. Modules for tests, windows and servers are left out. Measured against
/// six modules: a program that imports ten others takes 0.08 times as long, and an empty one 1.1 to 1.2 times.
const ORDINARY_MODULES: &str = "argparse,array,collections,copy,csv,dataclasses,datetime,decimal,functools,heapq,itertools,json,math,\
    pathlib,pprint,random,re,shutil,statistics,string,time,typing";

#[derive(Debug, clap::Args)]
pub struct InterpreterArguments {
    /// Listen on this loopback address, such as 127.0.0.1:50081, in place of another interpreter service
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// The Python to run [default: python3 from PATH]
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_PYTHON", value_name = "PROGRAM")]
    pub python: Option<PathBuf>,

    /// Modules to import ahead of every program, such as numpy,pandas,matplotlib.pyplot. With auto these are the most used modules of the
    /// standard library, and installed modules that your programs import again and again
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_PRELOAD", value_name = "MODULES", value_delimiter = ',', value_parser = module,
          default_value = AUTO)]
    pub preload: Vec<String>,

    /// Directories that programs may read, such as ~/data:/data
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_MOUNT", value_name = "SOURCE:TARGET", value_delimiter = ',')]
    pub mount: Vec<Mount>,

    /// What programs can reach over the network: none (only a loopback of their own) or host (everything that you can reach)
    #[arg(long, env = "PYTHON_INTERPRETER_MCP_NETWORK", value_enum, default_value_t = NetworkChoice::None)]
    pub network: NetworkChoice,

    #[command(flatten)]
    pub executions: ExecutionLimits,

    #[command(flatten)]
    pub limits: Limits,

    #[command(flatten)]
    pub logging: logging::Settings,

    /// How many programs one warm Python serves before a new one takes over; for tests
    #[arg(long, value_name = "NUMBER", default_value_t = 2000, hide = true)]
    pub most_slots: u64,

    /// Detach from the terminal and exit when idle; the daemon starts it with this
    #[arg(long)]
    pub background: bool,

    #[command(flatten)]
    pub idle: IdleExit,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum NetworkChoice {
    /// Only a loopback interface of their own
    None,
    /// Everything that you can reach, including services on this machine
    Host,
}

impl InterpreterArguments {
    /// The modules to import, without those that are learned.
    pub fn preloaded(&self) -> Vec<String> {
        let named = self.preload.iter().flat_map(|name| if name == AUTO { ORDINARY_MODULES } else { name }.split(','));
        named.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// Whether modules are learned.
    pub fn learns(&self) -> bool {
        self.preload.iter().any(|name| name == AUTO)
    }
}

impl From<NetworkChoice> for Network {
    fn from(choice: NetworkChoice) -> Self {
        match choice {
            NetworkChoice::None => Network::None,
            NetworkChoice::Host => Network::Host,
        }
    }
}

/// A module's name; empty for none.
fn module(text: &str) -> Result<String, String> {
    let is_name = |part: &str| !part.is_empty() && part.chars().all(|letter| letter == '_' || letter.is_alphanumeric());
    let name = text.trim();
    if name.is_empty() || name.split('.').all(is_name) {
        Ok(name.to_owned())
    } else {
        Err("it is no module's name".to_owned())
    }
}

/// Both commands with their settings, without the configuration file.
pub fn commands() -> Command {
    Services::command()
}

/// `command` with the values of the configuration file as defaults.
pub fn configured(command: Command) -> Result<Command, config::ConfigError> {
    Ok(match config::read()? {
        Some(file) => config::layered(command, &file)?,
        None => command,
    })
}

/// The settings of `serve` with this process's flags and environment, and the configuration file as it is now.
pub fn serve_again() -> anyhow::Result<ServeArguments> {
    serve(std::env::args_os())
}

/// The settings of `serve` without flags.
pub fn serve_without_flags() -> anyhow::Result<ServeArguments> {
    serve([NAME.into(), "serve".into()])
}

/// The settings of `interpreter` with this process's flags and environment, and the configuration file as it is now.
pub fn interpreter_again() -> anyhow::Result<InterpreterArguments> {
    interpreter(std::env::args_os())
}

/// The settings of `interpreter` without flags.
pub fn interpreter_without_flags() -> anyhow::Result<InterpreterArguments> {
    interpreter([NAME.into(), "interpreter".into()])
}

fn serve(line: impl IntoIterator<Item = OsString>) -> anyhow::Result<ServeArguments> {
    match parse(line)? {
        Service::Serve(arguments) => Ok(arguments),
        Service::Interpreter(_) => anyhow::bail!("this process is not the daemon"),
    }
}

fn interpreter(line: impl IntoIterator<Item = OsString>) -> anyhow::Result<InterpreterArguments> {
    match parse(line)? {
        Service::Interpreter(arguments) => Ok(arguments),
        Service::Serve(_) => anyhow::bail!("this process is not the interpreter"),
    }
}

fn parse(line: impl IntoIterator<Item = OsString>) -> anyhow::Result<Service> {
    let matches = configured(commands())?.try_get_matches_from(line)?;
    Ok(Services::from_arg_matches(&matches)?.service)
}

/// The error that waiting clients get.
pub fn cannot_start(reason: &str) -> String {
    format!("The {NAME} process cannot start: {reason}. Nothing was run.")
}
