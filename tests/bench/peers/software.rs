//! Brings peers from the registries into `target/peers/`, once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Error, Result};

use crate::installed::install_in;
pub use crate::installed::run;

/// Not a user's own, which may lie where another user cannot look.
pub const BASE: &str = "/usr/bin/python3";

/// As `build` makes it, which gets the folder and the log to write.
pub fn install(name: &str, wanted: &str, build: impl FnOnce(&Path, &Path) -> Result<(), String>) -> Result<PathBuf> {
    let build = |place: &Path, log: &Path| {
        eprintln!("installing {name} …");
        build(place, log)
    };
    install_in("peers", name, wanted, build).map_err(Error::msg)
}

/// A virtual environment with these packages from PyPI, and what `more` adds to it.
pub fn from_pypi(
    name: &str,
    packages: &[&str],
    more_wanted: &str,
    more: impl FnOnce(&Path, &Path) -> Result<(), String>,
) -> Result<PathBuf> {
    let wanted = format!("{BASE} {} {more_wanted}", packages.join(" "));
    install(name, &wanted, |place, log| {
        run(Command::new(BASE).args(["-m", "venv"]).arg(place), log)?;
        let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--retries", "1"];
        run(Command::new(place.join("bin/python")).args(pip).args(packages), log)?;
        more(place, log)
    })
}
