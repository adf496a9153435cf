//! The embedded interpreter's Python, and whether the kernel isolates it. Found by building a slot and attacking it, as the interpreter does
//! before it runs anything.

use std::path::PathBuf;
use std::sync::Arc;

use python_interpreter::WorkshopError;
use python_interpreter::executor::Executor;
use tokio::runtime::Builder;

use super::finding::Finding;
use crate::cli::interpreter;
use crate::cli::services::interpreter_without_flags;

const PYTHON: &str = "python";
const SANDBOX: &str = "sandbox";

pub fn look(found: &mut impl FnMut(Finding)) {
    match open() {
        Ok(findings) => findings.into_iter().for_each(found),
        Err(error) => found(Finding::failed(SANDBOX, format!("{error:#}"))),
    }
}

fn open() -> anyhow::Result<Vec<Finding>> {
    // Wrong settings are another check's finding.
    let Ok(arguments) = interpreter_without_flags() else { return Ok(Vec::new()) };
    // A directory of its own: nothing of the user's is touched, and a full disk shows as that.
    let directory = tempfile::tempdir().or_else(|_| tempfile::tempdir_in("/dev/shm"))?;
    let settings = interpreter::settings(&arguments, PathBuf::from(directory.path()));
    let executor = Arc::new(Executor::without_groups(settings)?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let opened = runtime.block_on(executor.workshop());
    Ok(match opened {
        Err(WorkshopError::Python(error)) => vec![Finding::failed(PYTHON, error.to_string())],
        Err(error) => vec![Finding::failed(SANDBOX, error.to_string())],
        Ok(workshop) => {
            let kept: Vec<&str> = workshop.protections.keys().map(String::as_str).collect();
            let python = format!("{} is {}", workshop.spawner.launch.executable.display(), workshop.python_version);
            vec![
                Finding::ok(PYTHON, python),
                Finding::ok(SANDBOX, format!("a slot was built and attacked; these held: {}", kept.join(", "))),
            ]
        }
    })
}
