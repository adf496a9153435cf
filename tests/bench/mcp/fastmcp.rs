//! A server of FastMCP, got from PyPI on first use and kept below cargo's target directory until other packages are wanted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FlockOperation, flock};

use super::client::Client;
use super::daemon::command;
use super::stub::Stub;
use crate::user::as_user;

const PACKAGES: [&str; 2] = ["fastmcp==4.2.3", "httpx==0.28.1"];
/// Not a user's own, which may lie where another user cannot look.
const BASE: &str = "/usr/bin/python3";
const SERVER: &str = include_str!("fastmcp_server.py");
/// Of installing: everything comes over the network.
const DEADLINE_SECONDS: &str = "300";

/// The Python that has the packages, if the user can run it.
pub fn python() -> Result<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench-fastmcp");
    fs::create_dir_all(&place)?;
    let lock = File::create(place.join("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).context("another benchmark installs it just now")?;
    let (python, stamp) = (place.join("venv/bin/python"), place.join("installed"));
    let wanted = format!("{BASE} {}", PACKAGES.join(" "));
    // Written last, so it stands for everything else.
    if fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
        eprintln!("installing FastMCP …");
        run(Command::new(BASE).args(["-m", "venv", "--clear"]).arg(place.join("venv")))?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"];
        run(Command::new(&python).args(install).args(PACKAGES))?;
        fs::write(&stamp, wanted)?;
    }
    as_user(|| run(Command::new(&python).args(["-I", "-c", "import fastmcp, httpx"])))?;
    Ok(python)
}

/// To be called as the user.
pub fn connect(python: &Path, home: &Path, stub: &Stub) -> Result<Client> {
    fs::create_dir_all(home)?;
    let script = home.join("server.py");
    fs::write(&script, SERVER)?;
    Client::connect(command(python, home).arg(script).arg(stub.url()).stderr(File::create(home.join("log"))?))
}

/// Runs a command to its end; the last line that it says is the reason for a failure.
fn run(command: &mut Command) -> Result<()> {
    let mut bounded = Command::new("timeout");
    bounded.args(["--kill-after=10", DEADLINE_SECONDS]).arg(command.get_program()).args(command.get_args());
    let output = bounded.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    ensure!(output.status.success(), "{}: {}, {last:?}", command.get_program().display(), output.status);
    Ok(())
}
