//! Writes the log to the journal, with fields, if stderr is the journal; else to stderr, by a thread of its own, so that a stderr that
//! nobody reads blocks nothing. The size of a log file is bounded.

mod lines;

use std::env;
use std::fmt::{self, Debug};
use std::io;

use lines::{Lines, Written};
pub use lines::{Log, lost_lines};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::{Layer, Registry};

const DEFAULT_FILTER: &str = "info";

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// What to log: error, warn, info, debug or trace, also by module, as in info,python_interpreter=debug
    #[arg(long, value_name = "FILTER", env = "PYTHON_INTERPRETER_MCP_LOG", default_value = DEFAULT_FILTER)]
    pub log: String,
}

/// rmcp logs what is logged here as well, and repeats messages of clients. More of it must be asked for by its name.
const RMCP: &str = "rmcp=error";

/// Changes what is logged while the process runs.
#[derive(Clone)]
pub struct Filter(Handle<Targets, Registry>);

impl Filter {
    pub fn change(&self, settings: &Settings) {
        let (filter, complaint) = filter(settings);
        // Fails only if the subscriber is gone.
        let _ = self.0.reload(filter);
        complain(complaint);
    }
}

/// Sets up logging for the process. A thread writes the lines as long as the returned [`Log`] lives. With `owns_file`, a file on stderr is
/// this program's own log. A wrong filter or a missing journal is logged and no error.
pub fn start(settings: &Settings, owns_file: bool) -> (Filter, Log) {
    let lines = Lines::new(owns_file);
    let (writer, log) = lines.aside();
    (start_with(settings, writer), log)
}

/// As [`start`], for a process that must not have a second thread.
pub fn start_in_one_thread(settings: &Settings) {
    start_with(settings, Written::AtOnce);
}

fn start_with(settings: &Settings, written: Written) -> Filter {
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
            let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(written);
            if lines::has_colors() {
                Box::new(layer.with_ansi(true))
            } else {
                // Without colours the default formatter of fields spends half of an event's time on styles.
                let layer = layer.with_ansi(false).with_ansi_sanitization(false);
                Box::new(layer.fmt_fields(debug_fn(write_field).delimited(" ")))
            }
        }
    };
    // Fails only if a subscriber is set already.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(layer.with_filter(filter)));
    complain(complaint);
    // The default hook writes to stderr, which may block.
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload().downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str));
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, message, "panic");
    }));
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
        tracing::warn!(reason = complaint, "the log filter is wrong and ignored");
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

/// JOURNAL_STREAM has device and inode of the journal's stream. stderr may have been redirected since.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Ok(status) = rustix::fs::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", status.st_dev, status.st_ino)
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
}
