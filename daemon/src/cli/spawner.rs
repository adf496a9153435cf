//! `spawner`: the process that makes slots for the embedded interpreter, which starts it. Not for people.

use std::process::ExitCode;

use crate::logging;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    logging: logging::Settings,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // It makes processes and namespaces, which takes a process of one thread.
    logging::start_in_one_thread(&arguments.logging);
    Ok(python_interpreter::spawner::run())
}
