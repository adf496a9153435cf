//! The command that a client launches: relays between its standard input and output and the user's daemon, which it starts if needed.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use python_interpreter_mcp::user_daemons;

const USAGE: &str = "Usage: python-interpreter-mcp [--help | --version]. MCP clients start it without arguments.";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.iter().map(|argument| argument.to_str()).collect::<Vec<_>>()[..] {
        [] if rustix::termios::isatty(rustix::stdio::stdin()) => answer(io::stderr(), &introduction()),
        [] => match user_daemons::serve() {
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
