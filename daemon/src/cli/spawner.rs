//! `spawner`: the process that creates slots. The embedded interpreter starts it.

use std::process::ExitCode;

use crate::logging;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    logging: logging::Settings,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // One thread only: it clones itself without exec, and a lock that another thread held would stay locked in the child.
    logging::start_in_one_thread(&arguments.logging);
    Ok(python_interpreter::spawner::run())
}
