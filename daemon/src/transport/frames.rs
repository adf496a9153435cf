//! Cuts the bytes of a client's socket into frames, one line of MCP each. The length of a line is bounded.

use std::io::{self, BufRead as _};
use std::mem;
use std::sync::Arc;

use python_interpreter_mcp::frame::{Id, Scanner};

use super::socket::Socket;

/// The longest line that is accepted.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// The room for the first read of a frame. A longer frame doubles its buffer.
const FIRST_READ_BYTES: usize = 8 * 1024;
const MAX_READ_BYTES: usize = 256 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line over [`MAX_FRAME_BYTES`], which was discarded; `id` is the id of its request, if it has one.
    TooLong { id: Option<Id> },
}

pub struct Frames {
    socket: Arc<Socket>,
    buffer: Vec<u8>,
    /// The start of the next frame.
    start: usize,
    /// Up to here there is no line end.
    searched: usize,
    /// Set while a too long line passes: its bytes are scanned for the id and discarded.
    too_long: Option<Scanner>,
    is_stopped: bool,
}

impl Frames {
    pub fn new(socket: Arc<Socket>) -> Self {
        Self { socket, buffer: Vec::new(), start: 0, searched: 0, too_long: None, is_stopped: false }
    }

    /// The next frame; none once the client has closed its sending direction. A last line without an end counts as a frame. Cancel safe.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Some(frame));
            }
            let socket = self.socket.clone();
            socket.readable().await?;
            self.make_room();
            match socket.try_read(&mut self.buffer) {
                Ok(0) if self.is_stopped => return Ok(None),
                Ok(0) => return Ok(self.rest()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.give_up_room(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads nothing further from the client. Complete frames that have arrived can still be taken; an incomplete last line is dropped.
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

    /// The rest, when the current line goes no further.
    fn rest(&mut self) -> Option<Frame> {
        if let Some(scanner) = self.too_long.take() {
            return Some(Frame::TooLong { id: scanner.id().cloned() });
        }
        self.searched = self.buffer.len();
        let line = self.take_line();
        (!line.is_empty()).then_some(Frame::Line(line))
    }

    /// Frees the buffer of an idle session.
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
            // Doubled, up to the size of the longest line.
            let doubled = (2 * length).min(MAX_FRAME_BYTES + MAX_READ_BYTES);
            self.buffer.reserve_exact(doubled.saturating_sub(length).max(room));
        }
    }
}
