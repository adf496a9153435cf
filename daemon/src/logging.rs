//! Where log lines go: to the journal with their fields where stderr is the journal, else to stderr for people. A log file
//! is kept within a bound. The program's answers (`exec`) are none of its business.

use std::borrow::Cow;
use std::env;
use std::fmt::{self, Debug};
use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FileType;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::{Layer, Registry};

const DEFAULT_FILTER: &str = "info";

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// What is logged: error, warn, info, debug or trace, also for a part only, as in python_interpreter=debug
    #[arg(long, value_name = "FILTER", env = "PYTHON_INTERPRETER_MCP_LOG", default_value = DEFAULT_FILTER)]
    pub log: String,
}

/// rmcp tells at its own levels what is told here better, and repeats messages of clients: only whoever names it hears more of it.
const RMCP: &str = "rmcp=error";
/// A log file that grows past this starts anew.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// How many bytes pass between two looks at the file's size.
const LOOK_EVERY_BYTES: u64 = 64 * 1024;

/// Changes what is logged while the process runs.
#[derive(Clone)]
pub struct Filter(Handle<Targets, Registry>);

impl Filter {
    pub fn change(&self, settings: &Settings) {
        let (filter, complaint) = filter(settings);
        // It fails when there is no log any more.
        let _ = self.0.reload(filter);
        complain(complaint);
    }
}

/// Sets up logging for the whole process. `owns_file` says that a file on stderr is this program's own log. What is wrong with the filter or the journal is logged, and no reason to fail.
pub fn start(settings: &Settings, owns_file: bool) -> Filter {
    let (filter, complaint) = filter(settings);
    let (filter, handle) = reload::Layer::new(filter);
    let journal = if stderr_is_the_journal() {
        tracing_journald::layer().ok().map(|layer| layer.with_field_prefix(None))
    } else {
        None
    };
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match journal {
        Some(journal) => Box::new(journal),
        None => {
            let layer = tracing_subscriber::fmt::layer().with_target(false);
            if io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
                Box::new(layer.with_ansi(true).with_writer(io::stderr))
            } else {
                // The usual way takes half the time of an event to colour nothing.
                let layer = layer.with_ansi(false).with_ansi_sanitization(false);
                Box::new(layer.fmt_fields(debug_fn(write_field).delimited(" ")).with_writer(Stderr::new(owns_file)))
            }
        }
    };
    // Only one subscriber can be set, and nobody else does.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(layer.with_filter(filter)));
    complain(complaint);
    Filter(handle)
}

fn write_field(line: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(line, "{value:?}"),
        name => write!(line, "{name}={value:?}"),
    }
}

fn complain(complaint: Option<String>) {
    if let Some(complaint) = complaint {
        tracing::warn!(reason = complaint, "the filter of the log is not understood and ignored");
    }
}

fn filter(settings: &Settings) -> (Targets, Option<String>) {
    let directives = Some(settings.log.as_str()).filter(|log| !log.is_empty()).unwrap_or(DEFAULT_FILTER);
    match with_rmcp(directives).parse() {
        Ok(filter) => (filter, None),
        Err(error) => (with_rmcp(DEFAULT_FILTER).parse().unwrap_or_default(), Some(error.to_string())),
    }
}

fn with_rmcp(directives: &str) -> String {
    if directives.contains("rmcp") { directives.to_owned() } else { format!("{directives},{RMCP}") }
}

/// systemd names the journal's stream by device and inode; stderr may have been redirected since.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Ok(status) = rustix::fs::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", status.st_dev, status.st_ino)
}

/// Stderr without colours, and if it is a file, the bound of its size. Each event is one line of it, and no value can forge another or
/// speak to the terminal on which it is looked at later.
struct Stderr {
    file: Option<BoundedFile>,
}

struct BoundedFile {
    file: File,
    written: AtomicU64,
}

impl Stderr {
    fn new(owns_file: bool) -> Self {
        let is_file = owns_file
            && rustix::fs::fstat(io::stderr())
                .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile);
        let file = if is_file { io::stderr().as_fd().try_clone_to_owned().ok() } else { None };
        let file = file.map(|file| BoundedFile { file: file.into(), written: AtomicU64::new(LOOK_EVERY_BYTES) });
        Self { file }
    }
}

impl<'writer> MakeWriter<'writer> for Stderr {
    type Writer = &'writer Self;

    fn make_writer(&'writer self) -> Self::Writer {
        self
    }
}

impl Write for &Stderr {
    /// Takes an event's whole line, as the layer gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(file) = &self.file {
            file.bound(line.len() as u64);
        }
        io::stderr().write_all(&without_controls(line))?;
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
    use tracing::Level;

    use super::*;

    #[test]
    fn what_is_not_understood_is_complained_about_and_changes_nothing() {
        for (log, own, inside, rmcp) in [
            ("", Level::INFO, Level::INFO, Level::ERROR),
            ("info", Level::INFO, Level::INFO, Level::ERROR),
            ("info,python_interpreter::slot=trace", Level::INFO, Level::TRACE, Level::ERROR),
            ("debug,rmcp=warn", Level::DEBUG, Level::DEBUG, Level::WARN),
        ] {
            let (filter, complaint) = filter(&Settings { log: log.to_owned() });
            assert_eq!(complaint, None, "{log}");
            for (target, level) in
                [("python_interpreter_mcpd", own), ("python_interpreter::slot", inside), ("rmcp::service", rmcp)]
            {
                let next = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
                let most =
                    next.into_iter().filter(|level| filter.would_enable(target, level)).max_by_key(|level| *level);
                assert_eq!(most, Some(level), "{log}: {target}");
            }
        }
        let (filter, complaint) = filter(&Settings { log: "python_interpreter=loud".to_owned() });
        assert!(complaint.is_some() && filter.would_enable("python_interpreter", &Level::INFO));
    }

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
