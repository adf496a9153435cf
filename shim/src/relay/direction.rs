//! One direction of the relay: a source, a fixed buffer, a sink. Leaves out who they are and when they are ready.
//! The buffer bounds what is in flight: while it is full nothing is read, so the writer at the source waits.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// As much as a pipe holds by default, so that one read empties it.
const CAPACITY: usize = 64 * 1024;

pub(super) struct Direction {
    /// Has room for `CAPACITY` bytes, of which none is touched before it is needed: a shim waits most of its life.
    buffer: Vec<u8>,
    /// Up to where it has been passed on.
    start: usize,
    source_ended: bool,
    broken: bool,
}

impl Default for Direction {
    fn default() -> Self {
        Self { buffer: Vec::with_capacity(CAPACITY), start: 0, source_ended: false, broken: false }
    }
}

impl Direction {
    /// Whether to read: the source may have more, somebody takes it, and a worthwhile piece of the buffer is free.
    pub fn wants_bytes(&self) -> bool {
        !self.source_ended && !self.broken && (self.buffer.len() < CAPACITY || self.start >= CAPACITY / 2)
    }

    pub fn has_bytes(&self) -> bool {
        self.start < self.buffer.len()
    }

    pub fn source_ended(&self) -> bool {
        self.source_ended
    }

    /// The sink takes no more; what was buffered is gone.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The source has ended and all that it sent has been passed on.
    pub fn is_finished(&self) -> bool {
        self.source_ended && !self.has_bytes()
    }

    /// One read into the free part of the buffer.
    pub fn fill(&mut self, source: impl AsFd) -> io::Result<()> {
        if self.buffer.len() >= CAPACITY {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        match rustix::io::read(source, spare_capacity(&mut self.buffer)) {
            Ok(0) => self.source_ended = true,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            // A peer that closed with unread bytes resets the socket, after what it had sent has been read.
            Err(Errno::CONNRESET) => self.source_ended = true,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// One write of what is buffered, if anything is. Returns how many bytes went.
    pub fn drain(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
        if !self.has_bytes() {
            return Ok(0);
        }
        let count = match write(&self.buffer[self.start..]) {
            Ok(count) => count,
            Err(error) if is_for_later(&error) => 0,
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.broken = true;
                self.start = self.buffer.len();
                0
            }
            Err(error) => return Err(error),
        };
        self.start += count;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        Ok(count)
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
