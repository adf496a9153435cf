//! A virtual environment with the packages that programs use most. Leaves out which interpreter uses it.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::installed::{install, run};

/// The path of one to use as it is, instead of the one that is made here.
const SETTING: &str = "PYTHON_INTERPRETER_MCP_TEST_VENV";
const PACKAGES: [&str; 4] = ["numpy", "pandas", "matplotlib", "pillow"];
/// Its base, because a user's own Python may lie where another user, as whom the interpreter runs, cannot look.
const BASE: &str = "/usr/bin/python3";

/// Its `bin/python`, or why there is none.
pub fn python() -> Result<PathBuf, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let place = match env::var_os(SETTING) {
            Some(path) => PathBuf::from(path),
            None => made()?,
        };
        Ok(place.join("bin/python"))
    });
    found.clone()
}

fn made() -> Result<PathBuf, String> {
    let version = Command::new(BASE).arg("--version").output().map_err(|error| format!("{BASE}: {error}"))?;
    // It is of no use to another version than the one that made it.
    let wanted = format!("{BASE} {} {}", String::from_utf8_lossy(&version.stdout).trim(), PACKAGES.join(" "));
    install("python-with-packages", &wanted, |place, log| {
        run(Command::new(BASE).args(["-m", "venv"]).arg(place), log)?;
        let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--retries", "1"];
        run(Command::new(place.join("bin/python")).args(pip).args(PACKAGES), log)
    })
}
