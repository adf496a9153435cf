//! `exec`: runs code as a client's tool call does, through the daemon's socket, and behaves like `python3`: the same output and the same
//! exit code. An interrupt closes the connection, which ends the program.

mod call;
mod files;
mod output;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use output::Output;
use python_interpreter_mcp::endpoint::{self, Owner, Socket};

/// The largest program that is read. The daemon has a smaller limit, which its error names.
const MAX_SOURCE_BYTES: u64 = 8 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A file, "-" for standard input, or the code itself
    #[arg(required_unless_present = "code", conflicts_with = "code")]
    source: Option<String>,

    /// The code, even if a file has that name
    #[arg(short = 'c', value_name = "CODE")]
    code: Option<String>,

    /// Save the program's files in this directory
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long, requires = "output")]
    force: bool,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let source_code = source_code(&arguments)?;
    let path = endpoint::socket_path(Socket::Mcp)?;
    let owner = Owner {
        program: std::env::current_exe().context("this program's own path is unknown")?,
        arguments: vec![OsString::from("serve"), OsString::from("--background")],
        unit: Some(Socket::Mcp.unit()),
        log: endpoint::daemon_log(),
    };
    let stream = endpoint::connect_or_start(&path, &owner)?;
    let mut output = Output::default();
    let result = call::execute(stream, &source_code, |printed| output.print(&printed))
        .with_context(|| format!("the daemon did not answer, {}", endpoint::why_daemon_ended(&path)))?;
    output.print_rest(&result.response);
    if result.is_error && !result.response.stderr.ends_with('\n') {
        let _ = io::stderr().write_all(b"\n");
    }
    match &arguments.output {
        Some(directory) => files::save(directory, &result, arguments.force)?,
        None if !result.response.files.is_empty() && io::stderr().is_terminal() => {
            let files = result.response.files.len();
            let _ = writeln!(io::stderr(), "{files} file(s) returned; save them with --output DIRECTORY");
        }
        None => {}
    }
    // Some services report a death by signal as -1, which must not become a success.
    Ok(ExitCode::from(u8::try_from(result.response.exit_code).unwrap_or(u8::MAX)))
}

fn source_code(arguments: &Arguments) -> anyhow::Result<String> {
    let source = match (&arguments.code, &arguments.source) {
        (Some(code), _) => return Ok(code.clone()),
        (None, Some(source)) => source,
        (None, None) => bail!("name a file, \"-\" for standard input, or code to run"),
    };
    if source == "-" {
        return read(io::stdin().lock()).context("standard input cannot be read as a program");
    }
    if Path::new(source).is_file() {
        return File::open(source)
            .map_err(Into::into)
            .and_then(read)
            .with_context(|| format!("{source} cannot be run"));
    }
    if Path::new(source).is_dir() {
        bail!("{source} is a directory; to run this text as code, use -c");
    }
    // A mistyped file name would run as a program, with a confusing error.
    if source.ends_with(".py") && !source.contains(char::is_whitespace) {
        bail!("there is no file {source}; to run this text as code, use -c");
    }
    Ok(source.clone())
}

fn read(source: impl io::Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    source.take(MAX_SOURCE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SOURCE_BYTES {
        bail!("it is larger than {} MiB", MAX_SOURCE_BYTES >> 20);
    }
    String::from_utf8(bytes).context("it is not UTF-8 text")
}
