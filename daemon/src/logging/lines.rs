//! The log as plain lines on stderr, each made safe to look at. What the event loop logs while it works is written at once when it has
//! nothing to do, or before a client of the socket is answered: a write for each line would be a good part of what a call costs.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FileType;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// A log file that grows past this starts anew.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// How many bytes pass between two looks at the file's size.
const LOOK_EVERY_BYTES: u64 = 64 * 1024;
/// Lines that are held are written at the latest when they are so many bytes.
const MAX_HELD_BYTES: usize = 16 * 1024;

thread_local! {
    static HOLDS: Cell<bool> = const { Cell::new(false) };
    static HELD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// As long as it lives, this thread's lines may be held until [`write_held`].
#[must_use]
pub struct Holding(());

pub fn hold() -> Holding {
    HOLDS.set(true);
    Holding(())
}

impl Drop for Holding {
    fn drop(&mut self) {
        HOLDS.set(false);
        write_held();
    }
}

/// Writes the lines that this thread holds.
pub fn write_held() {
    HELD.with_borrow_mut(write);
}

fn write(held: &mut Vec<u8>) {
    if !held.is_empty() {
        // Without a place for it the log is lost.
        let _ = io::stderr().write_all(held);
        held.clear();
    }
}

/// Lines without colours, and if it is a file, the bound of its size. Each event is one line of it, and no value can forge another or
/// speak to the terminal on which it is looked at later.
pub struct Lines {
    file: Option<BoundedFile>,
}

struct BoundedFile {
    file: File,
    written: AtomicU64,
}

impl Lines {
    pub fn new(owns_file: bool) -> Self {
        let is_file = owns_file
            && rustix::fs::fstat(io::stderr())
                .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile);
        let file = if is_file { io::stderr().as_fd().try_clone_to_owned().ok() } else { None };
        let file = file.map(|file| BoundedFile { file: file.into(), written: AtomicU64::new(LOOK_EVERY_BYTES) });
        Self { file }
    }
}

impl<'writer> MakeWriter<'writer> for Lines {
    type Writer = Line<'writer>;

    fn make_writer(&'writer self) -> Self::Writer {
        Line { lines: self, may_wait: true }
    }

    fn make_writer_for(&'writer self, event: &Metadata<'_>) -> Self::Writer {
        // Whatever may be the reason of an end that comes too soon is written before it.
        Line { lines: self, may_wait: *event.level() > Level::WARN }
    }
}

/// One event's.
pub struct Line<'lines> {
    lines: &'lines Lines,
    may_wait: bool,
}

impl Write for Line<'_> {
    /// Takes an event's whole line, as the layer gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(file) = &self.lines.file {
            file.bound(line.len() as u64);
        }
        let shown = without_controls(line);
        if HOLDS.get() {
            HELD.with_borrow_mut(|held| {
                held.extend_from_slice(&shown);
                if !self.may_wait || held.len() > MAX_HELD_BYTES {
                    write(held);
                }
            });
        } else {
            io::stderr().write_all(&shown)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl BoundedFile {
    /// The file was opened for appending, so that after truncation it goes on at its beginning.
    fn bound(&self, bytes: u64) {
        if self.written.fetch_add(bytes, Ordering::Relaxed) < LOOK_EVERY_BYTES {
            return;
        }
        self.written.store(0, Ordering::Relaxed);
        if self.file.metadata().is_ok_and(|metadata| metadata.len() > MAX_FILE_BYTES) {
            // A log that cannot be shortened is no reason to lose the line.
            let _ = self.file.set_len(0);
        }
    }
}

/// The line with its control characters, but for its end, written as Rust writes them.
fn without_controls(line: &[u8]) -> Cow<'_, [u8]> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    // Of several bytes are the control characters from U+0080 on. Looking at each byte is quicker than stopping at the first.
    if text.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(line);
    }
    let mut shown = String::with_capacity(line.len());
    for character in String::from_utf8_lossy(text).chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.push('\n');
    Cow::Owned(shown.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_forges_a_line_or_speaks_to_a_terminal() {
        for (line, shown) in [
            ("an event file=\"\u{1f40d} a.py\"\n", "an event file=\"\u{1f40d} a.py\"\n"),
            ("an event error=no\nINFO forged\r\n", "an event error=no\\nINFO forged\\r\n"),
            ("\u{1b}]0;title\u{7}\u{9b}2J\n", "\\u{1b}]0;title\\u{7}\\u{9b}2J\n"),
            ("without an end", "without an end"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&without_controls(line.as_bytes())), shown);
        }
    }
}
