//! A client that is a small Python program beside this one: it speaks to a library or a service, and in lines of JSON with us.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::interface::Client;
use super::lines::{DEADLINE, Lines};
use super::program::{Answer, Program};
use crate::mcp::command;

pub struct Driver(Lines);

impl Driver {
    /// Starts `script`, which says a line when it is ready.
    pub fn start(python: &Path, home: &Path, script: &Path, arguments: &[&str]) -> Result<Self> {
        let mut driver = command(python, home);
        driver.arg(script).args(arguments).current_dir(home).stderr(Stdio::null());
        let mut lines = Lines::start(&mut driver)?;
        lines.receive(Instant::now() + DEADLINE).context("its driver does not start")?;
        Ok(Driver(lines))
    }
}

impl Client for Driver {
    fn run(&mut self, program: &Program) -> Result<Duration> {
        let line = format!("{}\n", json!({ "source": program.source }));
        let started = Instant::now();
        self.0.send(line.as_bytes())?;
        let answer = self.0.receive(started + DEADLINE)?;
        let elapsed = started.elapsed();
        let answer: Value = serde_json::from_slice(&answer)?;
        let said = answer["said"].as_str().context("its driver says nothing")?.to_owned();
        program.check(&Answer { said, failed: answer["failed"] == true })?;
        Ok(elapsed)
    }
}

/// Puts a script where the user can read it.
pub fn script(home: &Path, name: &str, content: &str) -> Result<PathBuf> {
    let path = home.join(name);
    fs::write(&path, content).with_context(|| format!("{path:?}"))?;
    Ok(path)
}

/// Runs a step of a peer's start to its end.
pub fn step(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{:?}: {}", command.get_program(), said.trim());
    Ok(())
}
