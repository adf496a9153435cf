//! A process that is spoken to in lines over its standard input and output, each within a deadline.

use std::io::{Read, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long an answer may take, start included.
pub const DEADLINE: Duration = Duration::from_secs(60);
const CHUNK: usize = 256 * 1024;
const STEP: Duration = Duration::from_millis(5);

/// A process with whatever it starts in its group, all of which ends with the value.
pub struct Group {
    pub process: Child,
    /// How it is asked to leave.
    pub signal: Signal,
    /// How long it may take to.
    pub patience: Duration,
}

impl Group {
    pub fn start(command: &mut Command) -> Result<Self> {
        let process = command.process_group(0).spawn().with_context(|| format!("{:?}", command.get_program()))?;
        Ok(Group { process, signal: Signal::TERM, patience: Duration::from_secs(10) })
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.process.id().cast_signed())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        let _ = kill_process(pid, self.signal);
        let deadline = Instant::now() + self.patience;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(STEP);
        }
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.process.wait();
    }
}

pub struct Lines {
    /// Dropped first: most leave when nobody speaks to them any more.
    input: Option<ChildStdin>,
    output: ChildStdout,
    received: Vec<u8>,
    group: Group,
}

impl Lines {
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut group = Group::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        group.patience = Duration::from_secs(3);
        let (input, output) = (group.process.stdin.take(), group.process.stdout.take());
        let output = output.context("it has no pipes")?;
        Ok(Lines { input, output, received: Vec::new(), group })
    }

    pub fn send(&mut self, line: &[u8]) -> Result<()> {
        let input = self.input.as_mut().context("it has no pipes")?;
        input.write_all(line).context("it does not read")
    }

    /// The next whole line.
    pub fn receive(&mut self, deadline: Instant) -> Result<Vec<u8>> {
        let mut seen = 0;
        loop {
            if let Some(end) = self.received[seen..].iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(seen + end + 1);
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            seen = self.received.len();
            if read_some(&mut self.output, &mut self.received, deadline)? == 0 {
                let status = self.group.process.try_wait()?;
                bail!("it hung up{}", status.map_or(String::new(), |status| format!(": {status}")));
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.input = None;
        let deadline = Instant::now() + self.group.patience;
        while matches!(self.group.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(STEP);
        }
    }
}

/// Reads what is there, when there is something.
pub fn read_some(source: &mut (impl Read + AsFd), buffer: &mut Vec<u8>, deadline: Instant) -> Result<usize> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left)?;
    let ready = poll(&mut [PollFd::new(&*source, PollFlags::IN)], Some(&timeout))?;
    ensure!(ready > 0, "no answer within {} s", DEADLINE.as_secs());
    let filled = buffer.len();
    buffer.resize(filled + CHUNK, 0);
    let received = source.read(&mut buffer[filled..]);
    buffer.truncate(filled + received.as_ref().map_or(0, |count| *count));
    Ok(received?)
}
