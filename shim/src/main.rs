//! The command that a client launches: relays between its standard input and output and the user's daemon, which it starts if needed.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use python_interpreter_mcp::{
    endpoint::{self, EndpointError, Socket},
    relay::{self, Daemons, Ended, Patience, RelayError},
};

const USAGE: &str = "Usage: python-interpreter-mcp [--help | --version]. MCP clients start it without arguments.";

#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Relay(#[from] RelayError),
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.iter().map(|argument| argument.to_str()).collect::<Vec<_>>()[..] {
        [] if rustix::termios::isatty(rustix::stdio::stdin()) => answer(io::stderr(), &introduction()),
        [] => match serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error.to_string()),
        },
        [Some("--help" | "-h")] => answer(io::stdout(), &format!("{USAGE}\n{}", introduction())),
        [Some("--version" | "-V")] => {
            answer(io::stdout(), concat!("python-interpreter-mcp ", env!("CARGO_PKG_VERSION")))
        }
        _ => fail(2, USAGE),
    }
}

fn serve() -> Result<(), ShimError> {
    let parent = relay::parent();
    let path = endpoint::socket_path(Socket::Mcp)?;
    let first = reach(&path)?;
    match relay::run(
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        first,
        parent,
        UserDaemons { path },
        Patience::default(),
    )? {
        Ended::ClientFinished | Ended::ClientGone | Ended::ParentGone => Ok(()),
    }
}

/// The daemons that serve this user's socket, one after the other.
struct UserDaemons {
    path: PathBuf,
}

impl Daemons for UserDaemons {
    fn reach(&self) -> Result<UnixStream, String> {
        reach(&self.path).map_err(|error| format!("The interpreter daemon is gone: {error}. The code was not run."))
    }

    fn why_ended(&self) -> String {
        let why = endpoint::why_daemon_ended(&self.path);
        format!("The interpreter daemon ended without an answer, {why}. The code may or may not have run.")
    }

    fn why_silent(&self, waited: Duration) -> Option<String> {
        let why = endpoint::why_daemon_does_not_answer(&self.path, waited)?;
        Some(format!("The interpreter daemon does not answer: {why}. The code was not run."))
    }
}

/// Reaches a daemon that listens even if no daemon is installed that could be started.
fn reach(path: &Path) -> Result<UnixStream, EndpointError> {
    match endpoint::connect(path)? {
        Some(daemon) => Ok(daemon),
        None => endpoint::connect_or_start(path, &endpoint::daemon()?),
    }
}

fn introduction() -> String {
    let program = env::current_exe().unwrap_or_else(|_| PathBuf::from("python-interpreter-mcp"));
    // Debug quotes and escapes a path almost as JSON does.
    format!(
        "python-interpreter-mcp gives an AI client isolated Python over MCP. Add this to the configuration of a client:\n\
         {{\"mcpServers\":{{\"python-interpreter\":{{\"command\":{program:?}}}}}}}"
    )
}

fn answer(mut to: impl io::Write, text: &str) -> ExitCode {
    if writeln!(to, "{text}").is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(code: u8, sentence: &str) -> ExitCode {
    // Not `eprintln!`, which panics when the client has closed stderr too.
    let _ = writeln!(io::stderr(), "python-interpreter-mcp: {sentence}");
    ExitCode::from(code)
}
