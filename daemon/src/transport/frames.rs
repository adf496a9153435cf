//! Cuts the bytes of a client's socket into frames, one line of MCP each, and bounds how long a line may be.
//! It does not look inside a frame; only of one that is too long it says which request it was.

use std::io::{self, BufRead as _};
use std::mem;
use std::sync::Arc;

use python_interpreter_mcp::frame::{Id, Scanner};

use super::socket::Socket;

/// The longest line that is kept.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// What one read adds to a frame of which nothing is there yet; longer frames grow by their own size.
const FIRST_READ_BYTES: usize = 8 * 1024;
const MAX_READ_BYTES: usize = 256 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line over [`MAX_FRAME_BYTES`], thrown away; `id` is its request's, where it has one.
    TooLong { id: Option<Id> },
}

pub struct Frames {
    socket: Arc<Socket>,
    buffer: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
    /// Up to where no line end was found.
    searched: usize,
    /// Set while a line that is too long passes by: its bytes are scanned for the id and forgotten.
    too_long: Option<Scanner>,
    is_stopped: bool,
}

impl Frames {
    pub fn new(socket: Arc<Socket>) -> Self {
        Self { socket, buffer: Vec::new(), start: 0, searched: 0, too_long: None, is_stopped: false }
    }

    /// The next frame, or none once the client has shut down its side. A last line without an end still counts.
    /// Nothing is lost when the future is dropped before it is done.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Some(frame));
            }
            let socket = self.socket.clone();
            let readable = socket.readable().await?;
            self.make_room();
            match readable.read(&mut self.buffer) {
                Ok(0) if self.is_stopped => return Ok(None),
                Ok(0) => return Ok(self.rest()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.give_up_room(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Accepts nothing more. What has been accepted can still be read; of a last line only a part may be there, which then is none.
    pub fn stop(&mut self) {
        self.socket.stop_reading();
        self.is_stopped = true;
    }

    fn cut(&mut self) -> io::Result<Option<Frame>> {
        let mut rest = &self.buffer[self.searched..];
        self.searched += rest.skip_until(b'\n')?;
        let complete = self.searched > self.start && self.buffer[self.searched - 1] == b'\n';
        if self.searched - self.start > MAX_FRAME_BYTES + 1 {
            self.too_long.get_or_insert_default();
        }
        if let Some(scanner) = &mut self.too_long {
            scanner.push(&self.buffer[self.start..self.searched]);
            self.start = self.searched;
            return Ok(if complete { self.rest() } else { None });
        }
        Ok(complete.then(|| Frame::Line(self.take_line())))
    }

    fn take_line(&mut self) -> Vec<u8> {
        let line = if self.start == 0 && self.searched == self.buffer.len() {
            mem::take(&mut self.buffer)
        } else {
            self.buffer[self.start..self.searched].to_vec()
        };
        self.start = if self.buffer.is_empty() { 0 } else { self.searched };
        self.searched = self.start;
        line
    }

    /// What is left when no more of the current line comes.
    fn rest(&mut self) -> Option<Frame> {
        if let Some(scanner) = self.too_long.take() {
            return Some(Frame::TooLong { id: scanner.id().cloned() });
        }
        self.searched = self.buffer.len();
        let line = self.take_line();
        (!line.is_empty()).then_some(Frame::Line(line))
    }

    /// An idle session holds no buffer. That there was something to read is often found out only by reading.
    fn give_up_room(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > MAX_READ_BYTES {
            self.buffer = Vec::new();
        }
        let length = self.buffer.len();
        let room = length.clamp(FIRST_READ_BYTES, MAX_READ_BYTES);
        if length < MAX_READ_BYTES {
            self.buffer.reserve(room);
        } else if self.buffer.capacity() - length < room {
            // Doubled, but not for more than the longest line can need.
            let doubled = (2 * length).min(MAX_FRAME_BYTES + MAX_READ_BYTES);
            self.buffer.reserve_exact(doubled.saturating_sub(length).max(room));
        }
    }
}
