//! The embedded interpreter's Python, and whether the kernel isolates it. Found by building a slot and attacking it, as the interpreter does
//! before it runs anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use python_interpreter::WorkshopError;
use python_interpreter::executor::Executor;
use python_interpreter::settings::Settings;
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
    let settings = Settings { bytecode: None, ..interpreter::settings(&arguments, PathBuf::from(directory.path())) };
    let executor = Arc::new(Executor::without_groups(settings)?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let opened = runtime.block_on(executor.workshop());
    Ok(match opened {
        Err(WorkshopError::Python(error)) => vec![Finding::failed(PYTHON, error.to_string())],
        Err(error) => vec![Finding::failed(SANDBOX, error.to_string())],
        Ok(workshop) => {
            let kept: Vec<&str> = workshop.protections.keys().map(String::as_str).collect();
            let python = format!("{} is {}", workshop.spawner.launch.executable.display(), workshop.python_version);
            let mut findings = vec![Finding::ok(PYTHON, python)];
            findings.extend(bytecode(&workshop.spawner.launch.executable, &workshop.python_version));
            findings
                .push(Finding::ok(SANDBOX, format!("a slot was built and attacked; these held: {}", kept.join(", "))));
            findings
        }
    })
}

/// A note if the packages beside `executable` have no bytecode. Programs cannot write it, and the interpreter compiles them in the background.
/// uv leaves environments so, unless it is called with `--compile-bytecode`.
fn bytecode(executable: &Path, version: &str) -> Option<Finding> {
    let release = version.rsplitn(2, '.').last()?;
    let site = executable.parent()?.parent()?.join(format!("lib/python{release}/site-packages"));
    let is_package = |path: &PathBuf| path.join("__init__.py").is_file();
    let is_compiled = |path: &PathBuf| {
        let names =
            fs::read_dir(path.join("__pycache__")).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with("__init__."))
    };
    let packages: Vec<PathBuf> =
        fs::read_dir(&site).ok()?.flatten().map(|entry| entry.path()).filter(is_package).collect();
    let missing = packages.iter().filter(|path| !is_compiled(path)).count();
    let compile = format!("`{} -m compileall -q {}`", executable.display(), site.display());
    (missing > 0).then(|| {
        let number = packages.len();
        let text =
            format!("{missing} of {number} packages have no bytecode. The interpreter compiles them in the background; until then imports are slower, unless you run {compile}");
        Finding::note(PYTHON, text)
    })
}
