//! `spawner`: the process that makes slots for the embedded interpreter, which starts it. Not for people.

use std::process::ExitCode;

use crate::logging;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    logging: logging::Settings,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    logging::start(&arguments.logging, false);
    Ok(python_interpreter::spawner::run())
}
