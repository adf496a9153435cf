//! The baselines: Python as anybody starts it, without a sandbox, as cheaply as it can be started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Draws a line and saves it.
pub const PLOT: &str = "import matplotlib.pyplot as plt\nplt.plot([1, 4, 9, 16])\nplt.savefig(\"plot.png\")\n";

/// `python -I -c pass`.
pub struct Bare(PathBuf);

impl Bare {
    pub fn new(python: &Path) -> Self {
        Bare(python.to_owned())
    }

    pub fn spawn(&self) -> Result<Duration> {
        run(command(&self.0).args(["-I", "-c", "pass"]))
    }
}

impl Bare {
    /// Runs a program whose output goes into a pipe.
    pub fn output(&self, source_code: &str) -> Result<Duration> {
        let started = Instant::now();
        let output = command(&self.0).args(["-I", "-c", source_code]).stdout(Stdio::piped()).output()?;
        let elapsed = started.elapsed();
        ensure!(output.status.success() && !output.stdout.is_empty(), "{source_code:?} ended with {}", output.status);
        Ok(elapsed)
    }
}

/// `python plot.py` in a directory of its own, where matplotlib keeps what it has found out.
pub struct Plot {
    python: PathBuf,
    directory: tempfile::TempDir,
}

impl Plot {
    pub fn new(python: &Path) -> Result<Self> {
        let directory = tempfile::tempdir_in(".")?;
        fs::write(directory.path().join("plot.py"), PLOT)?;
        Ok(Plot { python: python.to_owned(), directory })
    }

    pub fn spawn(&self) -> Result<Duration> {
        let elapsed = run(command(&self.python)
            .arg("plot.py")
            .env("MPLBACKEND", "Agg")
            .env("MPLCONFIGDIR", self.directory.path().join("matplotlib"))
            .current_dir(self.directory.path()))?;
        // An error if it was not made.
        fs::remove_file(self.directory.path().join("plot.png"))?;
        Ok(elapsed)
    }
}

/// A command that the standard library starts by `posix_spawn`: it has an absolute path and changes no user.
fn command(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    // Bounded by `tests/bench/run` for the whole benchmark: a deadline of its own would cost time that counts.
    let status = command.spawn()?.wait()?;
    let elapsed = started.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(elapsed)
}
