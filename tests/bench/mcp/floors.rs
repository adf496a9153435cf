//! What nothing can be faster than: one round trip each over a pipe, a Unix socket and a kept HTTP connection, with nobody at
//! the other end who would think about what was sent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::client::{self, Client};
use super::stub::{self, Stub};

/// Sends back what it is sent.
const ECHO: &str = "/bin/cat";
const DEADLINE: Duration = Duration::from_secs(30);

pub struct Pipe(Client);

impl Pipe {
    pub fn open() -> Result<Self> {
        Ok(Pipe(Client::start(&mut Command::new(ECHO))?))
    }

    pub fn round_trip(&mut self) -> Result<Duration> {
        let line = client::call(1);
        let started = Instant::now();
        let answer = self.0.exchange(&line)?;
        let elapsed = started.elapsed();
        ensure!(answer == line, "the echo is another");
        Ok(elapsed)
    }
}

pub struct Socket {
    stream: UnixStream,
    process: Child,
}

impl Socket {
    pub fn open() -> Result<Self> {
        let (stream, other) = UnixStream::pair()?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let process =
            Command::new(ECHO).stdin(OwnedFd::from(other.try_clone()?)).stdout(OwnedFd::from(other)).spawn()?;
        Ok(Socket { stream, process })
    }

    pub fn round_trip(&mut self) -> Result<Duration> {
        let line = client::call(1);
        let mut answer = vec![0; line.len()];
        let started = Instant::now();
        self.stream.write_all(&line)?;
        self.stream.read_exact(&mut answer)?;
        let elapsed = started.elapsed();
        ensure!(answer == line, "the echo is another");
        Ok(elapsed)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the daemon and the interpreter say to each other, without the daemon.
pub struct Http {
    stream: TcpStream,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Http {
    /// To be called when the stub has served the daemon: its request is the one that is sent here.
    pub fn open(stub: &Stub) -> Result<Self> {
        let request = stub.first_request().context("the stub has had no request")?.to_vec();
        let stream = TcpStream::connect(stub.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Http { stream, request, response: stub::response() })
    }

    pub fn round_trip(&mut self) -> Result<Duration> {
        let mut answer = vec![0; self.response.len()];
        let started = Instant::now();
        self.stream.write_all(&self.request)?;
        self.stream.read_exact(&mut answer)?;
        let elapsed = started.elapsed();
        ensure!(answer == self.response, "the stub answered something else");
        Ok(elapsed)
    }
}
