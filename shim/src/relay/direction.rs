//! One direction of the relay: a fixed buffer between a source and a sink.
//!
//! While the buffer is full nothing is read, so that the source's writer waits. A frame is passed on once it is complete, so that a sink never
//! gets a part of a frame whose source dies. Only a frame that is longer than the buffer is passed on in pieces.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::frame::Scanner;

/// The default capacity of a pipe, so that one read empties it.
const CAPACITY: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Direction {
    /// Has a capacity of `CAPACITY` bytes, which are not touched before they are needed: a shim is idle most of its life.
    buffer: Vec<u8>,
    /// Up to here the buffer has been passed on.
    start: usize,
    /// Up to here it may be passed on.
    ready: usize,
    /// A frame that is longer than the buffer has not ended.
    long: Option<Scanner>,
    /// The start of that frame is lost, so its rest is dropped.
    discards: bool,
    /// The last byte that was passed on is not the end of a frame.
    is_within_frame: bool,
    source_ended: bool,
}

/// The result of one write.
pub(super) enum Passed {
    Bytes(usize),
    /// The sink is closed. What was buffered for it is still there.
    SinkClosed,
}

/// A frame that has ended.
pub(super) enum Frame<'a> {
    /// It fits into the buffer. Nothing of it has been passed on.
    Whole(&'a [u8]),
    /// It is longer than the buffer. All of it has been or may be passed on.
    Long,
    /// Its sink went before it was complete, so nobody gets it.
    Cut,
}

/// What to do with a complete frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    PassOn,
    /// Drop it.
    Drop,
}

impl Direction {
    pub fn new() -> Self {
        Self { buffer: Vec::with_capacity(CAPACITY), ..Self::default() }
    }

    /// Whether to read: the source may have more, and enough of the buffer is free or can be freed. This, or [`Self::has_bytes`], holds
    /// until the source has ended; else nothing would ever move again.
    pub fn wants_bytes(&self) -> bool {
        let has_room = self.buffer.len() < CAPACITY || self.start >= CAPACITY / 2 || !self.has_bytes();
        !self.source_ended && has_room
    }

    /// Whether something can be passed on.
    pub fn has_bytes(&self) -> bool {
        self.start < self.ready
    }

    pub fn source_ended(&self) -> bool {
        self.source_ended
    }

    /// The source has ended, and everything has been passed on.
    pub fn is_finished(&self) -> bool {
        self.source_ended && !self.has_bytes()
    }

    /// Reads once into the free part of the buffer. `ended` gets each frame that has ended, and says what to do with it.
    pub fn fill(&mut self, source: impl AsFd, ended: impl FnMut(&Scanner, Frame<'_>) -> Verdict) -> io::Result<usize> {
        // If nothing waits to be passed on, only the start of an incomplete frame has to be moved.
        if self.buffer.len() >= CAPACITY || !self.has_bytes() {
            self.buffer.drain(..self.start);
            self.ready -= self.start;
            self.start = 0;
        }
        if self.buffer.len() >= CAPACITY {
            self.buffer.reserve(CAPACITY / 2);
        }
        let count = match rustix::io::read(source, spare_capacity(&mut self.buffer)) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            // A peer that closes with unread bytes resets the socket, once everything that it sent has been read.
            Err(Errno::CONNRESET) => 0,
            read => read?,
        };
        self.source_ended |= count == 0;
        self.look_for_frames(ended);
        Ok(count)
    }

    fn look_for_frames(&mut self, mut ended: impl FnMut(&Scanner, Frame<'_>) -> Verdict) {
        while let Some(length) = self.buffer[self.ready..].iter().position(|byte| *byte == b'\n') {
            let end = self.ready + length + 1;
            let text = &self.buffer[self.ready..end];
            if let Some(mut scanner) = self.long.take() {
                scanner.push(text);
                if std::mem::take(&mut self.discards) {
                    self.buffer.drain(self.ready..end);
                    ended(&scanner, Frame::Cut);
                } else {
                    self.ready = end;
                    ended(&scanner, Frame::Long);
                }
                continue;
            }
            let mut scanner = Scanner::default();
            scanner.push(text);
            match ended(&scanner, Frame::Whole(text)) {
                Verdict::PassOn => self.ready = end,
                Verdict::Drop => drop(self.buffer.drain(self.ready..end)),
            }
        }
        // A frame is long if it fills the buffer alone. Behind other frames it waits until they are gone.
        let is_alone = !self.has_bytes();
        if self.long.is_some() || is_alone && self.buffer.len() - self.start >= CAPACITY {
            self.long.get_or_insert_default().push(&self.buffer[self.ready..]);
            match self.discards {
                true => self.buffer.truncate(self.ready),
                false => self.ready = self.buffer.len(),
            }
        }
    }

    /// The source has ended in the middle of its last frame, which ends here.
    pub fn end_last_frame(&mut self, ended: impl FnMut(&Scanner, Frame<'_>) -> Verdict) {
        if self.long.is_some() || self.ready < self.buffer.len() {
            self.buffer.push(b'\n');
            self.look_for_frames(ended);
        }
    }

    /// Passes on an incomplete frame, because its source has ended.
    pub fn pass_on_rest(&mut self) {
        self.ready = self.buffer.len();
    }

    /// Writes once, if anything may be passed on.
    pub fn drain(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<Passed> {
        if !self.has_bytes() {
            return Ok(Passed::Bytes(0));
        }
        let count = match write(&self.buffer[self.start..self.ready]) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                return Ok(Passed::SinkClosed);
            }
            Err(error) => return Err(error),
        };
        self.start += count;
        if count > 0 {
            self.is_within_frame = self.buffer[self.start - 1] != b'\n';
        }
        if self.start == self.buffer.len() {
            self.buffer.clear();
            (self.start, self.ready) = (0, 0);
        }
        Ok(Passed::Bytes(count))
    }

    /// Inserts a frame of our own between two frames, once everything that may be passed on has been.
    pub fn insert(&mut self, frame: &[u8]) {
        self.buffer.splice(self.ready..self.ready, frame.iter().copied());
        self.ready += frame.len();
    }

    /// The sink is gone, and another will take its place. Complete frames stay. The rest of a frame of which the sink had a part is dropped.
    pub fn change_sink(&mut self) {
        if std::mem::take(&mut self.is_within_frame) {
            let rest = &self.buffer[self.start..self.ready];
            let end = rest.iter().position(|byte| *byte == b'\n');
            self.discards = end.is_none() && self.long.is_some();
            self.start += end.map_or(rest.len(), |end| end + 1);
        }
    }

    /// The source is gone, and another will take its place. Its incomplete frame is dropped; if a part of it was passed on, the frame is ended.
    pub fn change_source(&mut self) {
        self.buffer.truncate(self.ready);
        if self.long.take().is_some() {
            self.insert(b"\n");
        }
    }

    /// Another source has taken its place.
    pub fn begin_source(&mut self) {
        self.source_ended = false;
    }

    /// The frames that wait to be passed on.
    pub fn waiting(&self) -> impl Iterator<Item = &[u8]> {
        self.buffer[self.start..self.ready].split_inclusive(|byte| *byte == b'\n')
    }

    /// Inserts frames of our own before those that wait.
    pub fn precede(&mut self, frames: &[u8]) {
        self.buffer.splice(self.start..self.start, frames.iter().copied());
        self.ready += frames.len();
    }

    /// Drops the frames that wait.
    pub fn clear(&mut self) {
        self.buffer.drain(..self.ready);
        (self.start, self.ready) = (0, 0);
        self.discards = self.long.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Passes `pieces` through, with a sink that accepts up to `room` bytes at a time. Returns the output and the number of frames.
    fn pass(pieces: &[&[u8]], room: usize) -> (Vec<u8>, usize) {
        let (mut source, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut direction = Direction::new();
        let (mut out, mut frames) = (Vec::new(), 0);
        for piece in pieces {
            source.write_all(piece).unwrap();
            loop {
                assert!(direction.wants_bytes() || direction.has_bytes(), "nothing would ever move again");
                let read = match direction.wants_bytes() {
                    true => direction.fill(&ours, |_, _| {
                        frames += 1;
                        Verdict::PassOn
                    }),
                    false => Ok(0),
                };
                let passed = direction.drain(|bytes| {
                    let taken = bytes.len().min(room);
                    out.extend_from_slice(&bytes[..taken]);
                    Ok(taken)
                });
                if read.unwrap() == 0 && matches!(passed.unwrap(), Passed::Bytes(0)) {
                    break;
                }
            }
        }
        (out, frames)
    }

    #[test]
    fn frames_of_every_size_pass_however_they_are_cut() {
        let frame = |length: usize| [vec![b'x'; length - 1], b"\n".to_vec()].concat();
        for long in [CAPACITY / 2, CAPACITY - 1, CAPACITY, CAPACITY + 1, 100_000] {
            let stream = [frame(400), frame(long), frame(7), frame(long), frame(1)].concat();
            for cut in [1, 399, 400, 401, 600, 4096, CAPACITY - 1, CAPACITY, CAPACITY + 1]
                .into_iter()
                .filter(|cut| *cut < stream.len())
            {
                for room in [1000, CAPACITY, usize::MAX] {
                    let (out, frames) = pass(&[&stream[..cut], &stream[cut..]], room);
                    assert!(
                        out == stream && frames == 5,
                        "{long} bytes, cut at {cut}, room for {room}: {} of {}",
                        out.len(),
                        stream.len()
                    );
                }
            }
        }
    }
}
