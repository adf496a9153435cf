//! A client that starts a process for each program, which is its last argument.

use std::io::pipe;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::interface::{Client, Peer};
use super::lines::{DEADLINE, read_some};
use super::program::{Answer, Program};
use crate::mcp::command;

#[derive(Clone)]
pub struct FreshProcess {
    pub words: Vec<String>,
    /// Its home and the directory it works in.
    pub home: PathBuf,
}

impl Peer for FreshProcess {
    fn connect(&self) -> Result<Box<dyn Client>> {
        Ok(Box::new(self.clone()))
    }
}

impl Client for FreshProcess {
    fn run(&mut self, program: &Program) -> Result<Duration> {
        let (mut output, input) = pipe()?;
        let mut process = command(self.words[0].as_ref(), &self.home);
        process.args(&self.words[1..]).arg(program.source).current_dir(&self.home).stdin(Stdio::null());
        process.stdout(input.try_clone()?).stderr(input);
        let started = Instant::now();
        let mut child = process.spawn()?;
        // It holds the pipe's other ends.
        drop(process);
        let mut said = Vec::new();
        let read = loop {
            match read_some(&mut output, &mut said, started + DEADLINE) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        if read.is_err() {
            let _ = child.kill();
        }
        let status = child.wait()?;
        let elapsed = started.elapsed();
        read?;
        program.check(&Answer { said: String::from_utf8_lossy(&said).into_owned(), failed: !status.success() })?;
        Ok(elapsed)
    }
}
