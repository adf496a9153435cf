//! A client of an MCP server over the pipes of its standard input and output: whole lines, one call at a time or many in
//! flight. It knows nothing of which server it speaks to.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

/// How long any answer may take. The slowest is that of a Python which starts.
const DEADLINE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
const READ_BYTES: usize = 256 * 1024;

/// A call, but for its id. As text, because making it must not cost what is measured.
const CALL: [&str; 2] = [
    r#"{"jsonrpc":"2.0","id":"#,
    r#","method":"tools/call","params":{"name":"execute_python_code","arguments":{"source_code":"print(6 * 7)"}}}"#,
];
/// How a line begins that answers nothing.
const NOTIFICATION: &[u8] = br#"{"jsonrpc":"2.0","method""#;
/// A part of each line that answers it well.
const GOOD: &[u8] = br#""stdout":"42\n""#;

/// A program for the tool, and what it has to print.
pub struct Script {
    source: Value,
    stdout: Option<String>,
}

impl Script {
    /// `stdout` is not looked at if there is none.
    pub fn new(source_code: &str, stdout: Option<&str>) -> Self {
        Script { source: source_code.into(), stdout: stdout.map(str::to_owned) }
    }
}

/// The process ends with the value.
pub struct Client {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
    buffer: Vec<u8>,
    /// How much of the buffer has been read into.
    filled: usize,
    calls: u64,
}

impl Client {
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (input, output) = input.zip(output).context("it has no pipes")?;
        Ok(Client { process, input, output, buffer: vec![0; READ_BYTES], filled: 0, calls: 0 })
    }

    /// A server that has been started and has answered `initialize`.
    pub fn connect(command: &mut Command) -> Result<Self> {
        let mut client = Client::start(command)?;
        client.exchange(&initialize())?;
        client.input.write_all(INITIALIZED)?;
        Ok(client)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// One call, from the first byte sent to the last received.
    pub fn call(&mut self) -> Result<Duration> {
        self.calls += 1;
        let line = call(self.calls);
        let started = Instant::now();
        let length = self.round_trip(&line)?;
        let elapsed = started.elapsed();
        check_call(&self.buffer[..length], self.calls)?;
        Ok(elapsed)
    }

    /// The same where the daemon may be another one than before: of that the client is told as well.
    pub fn call_after_change(&mut self) -> Result<Duration> {
        self.calls += 1;
        let line = call(self.calls);
        let (elapsed, answer) = self.answer_to(&line)?;
        check_call(&answer, self.calls)?;
        Ok(elapsed)
    }

    /// The same with another program.
    pub fn run(&mut self, script: &Script) -> Result<Duration> {
        self.calls += 1;
        let parameters = json!({ "name": "execute_python_code", "arguments": { "source_code": script.source } });
        let message = json!({ "jsonrpc": "2.0", "id": self.calls, "method": "tools/call", "params": parameters });
        let (elapsed, answer) = self.answer_to(format!("{message}\n").as_bytes())?;
        let text = || format!("call {} was answered by {:?}", self.calls, String::from_utf8_lossy(&answer));
        let message: Value = serde_json::from_slice(&answer).with_context(text)?;
        let result = &message["result"]["structuredContent"];
        let is_expected = script.stdout.as_ref().is_none_or(|stdout| result["stdout"] == **stdout);
        ensure!(message["id"] == self.calls && result["exit_code"] == 0 && is_expected, text());
        Ok(elapsed)
    }

    /// Sends a line, and returns after which time the one came that answers it. Skips notifications.
    fn answer_to(&mut self, line: &[u8]) -> Result<(Duration, Vec<u8>)> {
        self.filled = 0;
        let started = Instant::now();
        self.input.write_all(line).context("the server does not read")?;
        loop {
            self.receive()?;
            let lines = self.buffer[..self.filled].split_inclusive(|byte| *byte == b'\n');
            let mut answers = lines.filter(|line| line.ends_with(b"\n") && !line.starts_with(NOTIFICATION));
            if let Some(answer) = answers.next() {
                return Ok((started.elapsed(), answer.to_vec()));
            }
        }
    }

    /// Sends a line, and returns the one that answers it.
    pub fn exchange(&mut self, line: &[u8]) -> Result<&[u8]> {
        let length = self.round_trip(line)?;
        Ok(&self.buffer[..length])
    }

    /// Keeps so many calls in flight for this long, and returns how many were answered in how much time altogether.
    pub fn calls_in_flight(&mut self, in_flight: u64, time: Duration) -> Result<(usize, Duration)> {
        let started = Instant::now();
        let (mut answered, mut due, mut pending) = (0, in_flight, 0);
        let mut lines = Vec::new();
        // What is there has been looked at.
        self.filled = 0;
        while due + pending > 0 {
            lines.clear();
            for _ in 0..due {
                self.calls += 1;
                lines.extend_from_slice(&call(self.calls));
            }
            self.input.write_all(&lines).context("the server does not read")?;
            pending += due;
            self.receive()?;
            let received = self.take_lines(ensure_good)?;
            pending = pending.checked_sub(received).context("there are more answers than calls")?;
            answered += received;
            due = if started.elapsed() < time { received } else { 0 };
        }
        Ok((answered as usize, started.elapsed()))
    }

    fn round_trip(&mut self, line: &[u8]) -> Result<usize> {
        self.input.write_all(line).context("the server does not read")?;
        self.filled = 0;
        while self.buffer[..self.filled].last() != Some(&b'\n') {
            self.receive()?;
        }
        Ok(self.filled)
    }

    /// Reads once, when there is something.
    fn receive(&mut self) -> Result<()> {
        let ready = poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&DEADLINE))?;
        ensure!(ready > 0, "the server does not answer");
        let received = self.output.read(&mut self.buffer[self.filled..])?;
        if received == 0 {
            bail!("the server hung up after {:?}", String::from_utf8_lossy(&self.buffer[..self.filled]));
        }
        self.filled += received;
        Ok(())
    }

    /// Looks at each whole line in the buffer and removes it.
    fn take_lines(&mut self, look: impl Fn(&[u8]) -> Result<()>) -> Result<u64> {
        let (mut lines, mut start) = (0, 0);
        for end in (0..self.filled).filter(|end| self.buffer[*end] == b'\n') {
            look(&self.buffer[start..end])?;
            (lines, start) = (lines + 1, end + 1);
        }
        self.buffer.copy_within(start..self.filled, 0);
        self.filled -= start;
        Ok(lines)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub const INITIALIZED: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n";

pub fn initialize() -> Vec<u8> {
    let client = json!({ "name": "bench", "version": "1" });
    let parameters = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    let message = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": parameters });
    format!("{message}\n").into_bytes()
}

/// A call of the tool.
pub fn call(id: u64) -> Vec<u8> {
    let [before, after] = CALL;
    format!("{before}{id}{after}\n").into_bytes()
}

fn check_call(answer: &[u8], id: u64) -> Result<()> {
    let text = || format!("call {id} was answered by {:?}", String::from_utf8_lossy(answer));
    let message: Value = serde_json::from_slice(answer).with_context(text)?;
    let expected = json!({ "stdout": "42\n", "stderr": "", "exit_code": 0, "files": {} });
    ensure!(message["id"] == id && message["result"]["structuredContent"] == expected, text());
    Ok(())
}

/// A check that costs little, where many answers are counted.
fn ensure_good(answer: &[u8]) -> Result<()> {
    let good = answer.windows(GOOD.len()).any(|window| window == GOOD);
    ensure!(good, "a call was answered by {:?}", String::from_utf8_lossy(answer));
    Ok(())
}
