//! One connection to the interpreter, kept open, and the programs that go over it. Every answer is checked.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// A program, ready to be sent, and what must come of it.
pub struct Program {
    body: Value,
    request: Vec<u8>,
    stdout: String,
    file: Option<String>,
}

impl Program {
    pub fn new(source_code: &str, stdout: &str) -> Self {
        Self::with_body(json!({ "source_code": source_code }), stdout.to_owned(), None)
    }

    pub fn with_environment(mut self, environment: &Value) -> Self {
        self.body["env"] = environment.clone();
        Self::with_body(self.body, self.stdout, self.file)
    }

    /// The program leaves this one file.
    pub fn with_file(self, name: &str) -> Self {
        Program { file: Some(format!("/workspace/{name}")), ..self }
    }

    fn with_body(body: Value, stdout: String, file: Option<String>) -> Self {
        let text = body.to_string();
        let head = "POST /v1/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length:";
        let request = format!("{head} {}\r\n\r\n{text}", text.len()).into_bytes();
        Program { body, request, stdout, file }
    }

    fn check(&self, answer: &[u8]) -> Result<()> {
        let text = || format!("{} was answered by {}", self.body, String::from_utf8_lossy(answer));
        let answer: Value = serde_json::from_slice(answer).with_context(text)?;
        let files: Vec<_> = answer["files"].as_object().with_context(text)?.keys().collect();
        let right = answer["exit_code"] == 0 && answer["stdout"] == *self.stdout && files == Vec::from_iter(&self.file);
        if right { Ok(()) } else { bail!(text()) }
    }
}

pub struct Connection(UnixStream);

impl Connection {
    pub fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Connection(stream))
    }

    /// How long it took from the first byte sent to the last received.
    pub fn execute(&mut self, program: &Program) -> Result<Duration> {
        let started = Instant::now();
        let answer = self.exchange(&program.request)?;
        let elapsed = started.elapsed();
        program.check(&answer)?;
        Ok(elapsed)
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.0.write_all(request).context("the interpreter does not read")?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        // Where the body begins and how long it is, once the head is there.
        let mut body = None;
        while body.is_none_or(|(begin, length)| answer.len() < begin + length) {
            let received = self.0.read(&mut buffer).context("the interpreter does not answer")?;
            ensure!(received > 0, "the interpreter hung up after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..received]);
            if body.is_none()
                && let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n")
            {
                body = Some((end + 4, content_length(&answer[..end])?));
            }
        }
        let (begin, _) = body.unwrap_or_default();
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        Ok(answer.split_off(begin))
    }
}

pub fn content_length(head: &[u8]) -> Result<usize> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.with_context(|| format!("no length in {head:?}"))
}
