//! `man`: writes the manual pages of both programs. For packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Command;
use clap_mangen::Man;

const SHIM: &str = "python-interpreter-mcp";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The directory to write to
    directory: PathBuf,
}

pub fn run(arguments: Arguments, mut command: Command) -> anyhow::Result<ExitCode> {
    let directory = &arguments.directory;
    let failed = || format!("{} cannot be written to", directory.display());
    fs::create_dir_all(directory).with_context(failed)?;
    // Only a built command knows its full name.
    command = command.disable_help_subcommand(true);
    command.build();
    write(&command, directory).with_context(failed)?;
    write(&shim(), directory).with_context(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn write(command: &Command, directory: &Path) -> std::io::Result<()> {
    Man::new(command.clone())
        .source(concat!("python-interpreter-mcp ", env!("CARGO_PKG_VERSION")))
        .generate_to(directory)?;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        write(command, directory)?;
    }
    Ok(())
}

/// Written here because the shim has no clap, which would double its size.
fn shim() -> Command {
    Command::new(SHIM)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Gives an AI client isolated Python over MCP")
        .long_about(
            "The program that an MCP client launches, without arguments: it relays between its standard input and output and \
             the user's daemon, python-interpreter-mcpd, which it starts when it is not running. `python-interpreter-mcpd \
             client add` makes it known to clients.",
        )
        .after_help(
            "PYTHON_INTERPRETER_MCPD names the daemon to start, where that is not beside it. All other variables whose names \
             begin with PYTHON_INTERPRETER_MCP_ are settings of the daemon that it starts: see python-interpreter-mcpd-serve(1) \
             and python-interpreter-mcpd-interpreter(1).",
        )
}
