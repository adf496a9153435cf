//! `spawner`: the process that makes slots for the embedded interpreter, which starts it. Not for people.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn run(Arguments {}: Arguments) -> anyhow::Result<ExitCode> {
    crate::logging::start(false);
    Ok(python_interpreter::spawner::run())
}
