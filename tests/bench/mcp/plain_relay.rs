//! What the shim would be if it looked at nothing: bytes between its standard input and output and a socket, in one thread that waits in
//! `poll`, as the shim does, with buffers of the same size.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

const CAPACITY: usize = 64 * 1024;

/// Bytes on their way from one place to another.
struct Bytes {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Bytes {
    fn new() -> Self {
        Self { buffer: vec![0; CAPACITY], start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// False at the end.
    fn fill(&mut self, source: impl AsFd) -> Result<bool> {
        match rustix::io::read(source, &mut self.buffer[self.end..]) {
            Ok(count) => {
                self.end += count;
                Ok(count > 0)
            }
            Err(Errno::AGAIN) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn drain(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        match write(&self.buffer[self.start..self.end]) {
            Ok(count) => self.start += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        Ok(())
    }
}

/// Relays until either side ends.
pub fn run(socket: &Path) -> Result<()> {
    let mut daemon = UnixStream::connect(socket)?;
    daemon.set_nonblocking(true)?;
    let (input, output) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    do_not_block(input)?;
    do_not_block(output)?;
    let (mut requests, mut answers) = (Bytes::new(), Bytes::new());
    loop {
        let wants = |bytes: &Bytes| if bytes.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let ready = {
            let mut waits = [
                PollFd::new(&input, PollFlags::IN),
                PollFd::new(&daemon, PollFlags::IN | wants(&requests)),
                PollFd::new(&output, wants(&answers)),
            ];
            poll(&mut waits, None)?;
            waits.map(|wait| wait.revents())
        };
        let is_readable = |events: PollFlags| events.intersects(PollFlags::IN | PollFlags::HUP);
        if is_readable(ready[0]) && !requests.fill(input)? || is_readable(ready[1]) && !answers.fill(&daemon)? {
            return Ok(());
        }
        requests.drain(|bytes| daemon.write(bytes))?;
        answers.drain(|bytes| Ok(rustix::io::write(output, bytes)?))?;
    }
}

fn do_not_block(descriptor: BorrowedFd<'_>) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(descriptor)?;
    Ok(rustix::fs::fcntl_setfl(descriptor, flags | OFlags::NONBLOCK)?)
}
