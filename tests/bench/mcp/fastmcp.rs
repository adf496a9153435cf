//! A server of FastMCP, with what it needs from PyPI.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Error, Result, ensure};

use super::client::Client;
use super::daemon::command;
use super::stub::Stub;
use crate::installed::{install, run};
use crate::user::as_user;

const PACKAGES: [&str; 2] = ["fastmcp==4.2.3", "httpx==0.28.1"];
/// Not a user's own, which may lie where another user cannot look.
const BASE: &str = "/usr/bin/python3";
pub const SERVER: &str = include_str!("fastmcp_server.py");

/// The Python that has the packages, if the user can run it.
pub fn python() -> Result<PathBuf> {
    let wanted = format!("{BASE} {}", PACKAGES.join(" "));
    let place = install("fastmcp", &wanted, |place, log| {
        eprintln!("installing FastMCP …");
        run(Command::new(BASE).args(["-m", "venv"]).arg(place), log)?;
        let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--retries", "1"];
        run(Command::new(place.join("bin/python")).args(pip).args(PACKAGES), log)
    });
    let python = place.map_err(Error::msg)?.join("bin/python");
    as_user(|| {
        let output = Command::new(&python).args(["-I", "-c", "import fastmcp, httpx"]).output()?;
        ensure!(output.status.success(), "{}: {}", python.display(), String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    })?;
    Ok(python)
}

/// To be called as the user.
pub fn connect(python: &Path, home: &Path, stub: &Stub) -> Result<Client> {
    fs::create_dir_all(home)?;
    let script = home.join("server.py");
    fs::write(&script, SERVER)?;
    Client::connect(command(python, home).arg(script).arg(stub.url()).stderr(File::create(home.join("log"))?))
}
