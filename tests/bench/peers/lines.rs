//! A process that is spoken to in lines over its standard input and output, each within a deadline.

use std::io::{Read, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

/// How long an answer may take, start included.
pub const DEADLINE: Duration = Duration::from_secs(60);
const CHUNK: usize = 256 * 1024;
const STEP: Duration = Duration::from_millis(5);

/// A process with whatever it starts in its group, all of which ends with the value.
pub struct Group {
    pub process: Child,
    /// How long it may take to leave when it is asked to.
    pub patience: Duration,
}

impl Group {
    pub fn start(command: &mut Command) -> Result<Self> {
        let process = command.process_group(0).spawn().with_context(|| format!("{:?}", command.get_program()))?;
        Ok(Group { process, patience: Duration::from_secs(10) })
    }

    /// Waits for the end of the process, which stays a zombie: until it is reaped, its id names no other process and no other group.
    fn ends_by(&self, deadline: Instant) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            if !matches!(waitid(WaitId::Pid(Pid::from_child(&self.process)), options), Ok(None)) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(STEP);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let process = Pid::from_child(&self.process);
        let _ = kill_process(process, Signal::TERM);
        self.ends_by(Instant::now() + self.patience);
        let _ = kill_process_group(process, Signal::KILL);
        let _ = self.process.wait();
    }
}

pub struct Lines {
    /// None when the process is to leave: most do when nobody speaks to them any more.
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
            ensure!(read_some(&mut self.output, &mut self.received, deadline)? > 0, "it hung up");
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.input = None;
        self.group.ends_by(Instant::now() + self.group.patience);
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
