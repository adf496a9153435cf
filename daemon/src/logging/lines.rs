//! The log as lines on stderr, written by a thread. If stderr blocks, lines are lost and counted. Control characters are escaped, so that no
//! value in a line can forge another line or reach a terminal.

use std::borrow::Cow;
use std::env;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use rustix::fs::FileType;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// A log file is truncated when it is larger than this.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// How many bytes are written between two checks of the file's size.
const LOOK_EVERY_BYTES: u64 = 64 * 1024;
/// The most queued lines. With the bound on each line that is at most 16 MiB.
const MAX_WAITING_LINES: usize = 1024;
const MAX_LINE_BYTES: usize = 16 * 1024;
/// So many bytes are written although more lines wait.
const MAX_BATCH_BYTES: usize = 64 * 1024;
/// How long the thread lets lines come together: too short for a person to notice, or for the queue to fill.
const REST: Duration = Duration::from_millis(5);
/// How long the end of the process waits for the last lines.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// How many lines were lost because stderr blocked.
pub fn lost_lines() -> u64 {
    LOST.get().map_or(0, |lost| lost.dropped_lines() as u64)
}

/// Whether lines are coloured: on a terminal, unless NO_COLOR is set.
pub fn has_colors() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Who writes an event's line.
pub enum Written {
    /// The thread.
    Aside(NonBlocking),
    /// The caller, at once.
    AtOnce,
}

/// Writes the queued lines when dropped, within a deadline.
pub struct Log(Option<WorkerGuard>);

impl Drop for Log {
    fn drop(&mut self) {
        let guard = self.0.take();
        let (done, wait) = mpsc::channel();
        // The guard's own drop blocks without a deadline if the writer hangs.
        thread::spawn(move || {
            drop(guard);
            let _ = done.send(());
        });
        let _ = wait.recv_timeout(FLUSH_DEADLINE);
    }
}

impl<'writer> MakeWriter<'writer> for Written {
    type Writer = Box<dyn Write + 'writer>;

    fn make_writer(&'writer self) -> Self::Writer {
        match self {
            Self::Aside(thread) => Box::new(Bounded(thread.clone())),
            Self::AtOnce => Box::new(Lines::new(false)),
        }
    }
}

/// Cuts a line to its bound.
struct Bounded(NonBlocking);

impl Write for Bounded {
    /// Takes an event's whole line in one call, as the fmt layer writes it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.len() > MAX_LINE_BYTES {
            self.0.write_all(&[&line[..MAX_LINE_BYTES], b" ...\n"].concat())?;
        } else {
            self.0.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error.
pub struct Lines {
    file: Option<BoundedFile>,
    is_plain: bool,
    /// How many lost lines were reported.
    told_lost: u64,
    /// What the next write writes.
    shown: Vec<u8>,
}

struct BoundedFile {
    file: File,
    written: u64,
}

impl Lines {
    pub fn new(owns_file: bool) -> Self {
        let is_file = owns_file
            && rustix::fs::fstat(io::stderr())
                .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile);
        let file = if is_file { io::stderr().as_fd().try_clone_to_owned().ok() } else { None };
        let file = file.map(|file| BoundedFile { file: file.into(), written: LOOK_EVERY_BYTES });
        Self { file, is_plain: !has_colors(), told_lost: 0, shown: Vec::new() }
    }

    /// Starts the thread that writes the lines.
    pub fn aside(self) -> (Written, Log) {
        let builder = NonBlockingBuilder::default().buffered_lines_limit(MAX_WAITING_LINES).lossy(true);
        let (writer, guard) = builder.thread_name("log").finish(Batches(self));
        // A process has one log.
        let _ = LOST.set(writer.error_counter());
        (Written::Aside(writer), Log(Some(guard)))
    }

    fn add(&mut self, line: &[u8]) {
        let lost = lost_lines();
        if lost > self.told_lost {
            let told = format!("{} lines of the log were lost: nobody took them\n", lost - self.told_lost);
            self.shown.extend_from_slice(told.as_bytes());
            self.told_lost = lost;
        }
        let shown = if self.is_plain { without_controls(line) } else { Cow::Borrowed(line) };
        self.shown.extend_from_slice(&shown);
    }

    fn write_out(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.bound(self.shown.len() as u64);
        }
        let result = io::stderr().write_all(&self.shown);
        self.shown.clear();
        result
    }
}

/// One write per line.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        self.write_out()?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One write for all lines that wait. The thread rests after it, so that the next lines need not wake it. Measured with 32 calls in flight: with
/// a write and a wake-up for each line, a call takes 1.30 times as long, and the daemon 1.27 times the CPU time.
struct Batches(Lines);

impl Write for Batches {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        if self.0.shown.len() >= MAX_BATCH_BYTES {
            self.0.write_out()?;
        }
        Ok(line.len())
    }

    /// Called when no line waits.
    fn flush(&mut self) -> io::Result<()> {
        if self.0.shown.is_empty() {
            return Ok(());
        }
        let result = self.0.write_out();
        thread::sleep(REST);
        result
    }
}

impl BoundedFile {
    /// Truncates the log file if it is too large. It is open for appending, so writing goes on at its start.
    fn bound(&mut self, bytes: u64) {
        self.written += bytes;
        if self.written < LOOK_EVERY_BYTES {
            return;
        }
        self.written = 0;
        if self.file.metadata().is_ok_and(|metadata| metadata.len() > MAX_FILE_BYTES) {
            // If truncation fails, the line is written anyway.
            let _ = self.file.set_len(0);
        }
    }
}

/// The line with its control characters, except its end, escaped as in Rust.
fn without_controls(line: &[u8]) -> Cow<'_, [u8]> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    // Control characters from U+0080 on have several bytes.
    if text.iter().all(is_plain) {
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
