//! What can be set about calls: which interpreter they go to, how long they may take, how many run at once.

use std::ffi::OsString;
use std::path::PathBuf;

use super::url::ServiceUrl;

const SERVICE_CONCURRENCY: usize = 64;
/// The largest limit of one execution.
pub const MAX_TIMEOUT_SECONDS: u64 = 24 * 60 * 60;

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// The interpreter service to use, always; unset means the service at http://localhost:50081 if one is there, else the
    /// embedded interpreter
    #[arg(long, value_name = "URL", env = "PYTHON_INTERPRETER_MCP_URL")]
    pub interpreter_url: Option<ServiceUrl>,

    /// How long one execution may take
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PYTHON_INTERPRETER_MCP_TIMEOUT",
        default_value = "300",
        value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_SECONDS)
    )]
    pub timeout: u64,

    /// Where the interpreter service keeps the files that programs leave, by id: it has no download of its own
    #[arg(long, value_name = "DIRECTORY", env = "PYTHON_INTERPRETER_MCP_FILES")]
    pub interpreter_files: Option<PathBuf>,

    /// How many programs run at the same time; more wait for their turn [default: two for each processor and at least eight, or 64 at
    /// the service of a URL]
    #[arg(
        long,
        value_name = "NUMBER",
        env = "PYTHON_INTERPRETER_MCP_CONCURRENCY",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub concurrency: Option<u16>,
}

impl Settings {
    /// The flags that say to the embedded interpreter what these settings say, where `found` is what it finds itself.
    pub fn flags_beyond(&self, found: &Self) -> Vec<OsString> {
        let mut flags = Vec::new();
        if self.timeout != found.timeout {
            flags.extend(["--timeout".into(), self.timeout.to_string().into()]);
        }
        if self.concurrency() != found.concurrency() {
            flags.extend(["--concurrency".into(), self.concurrency().to_string().into()]);
        }
        flags
    }

    pub fn concurrency(&self) -> usize {
        match (self.concurrency, &self.interpreter_url) {
            (Some(concurrency), _) => concurrency.into(),
            // It knows itself what it can run.
            (None, Some(_)) => SERVICE_CONCURRENCY,
            (None, None) => default_concurrency(),
        }
    }
}

/// Programs that wait for something leave room for another one.
pub fn default_concurrency() -> usize {
    std::thread::available_parallelism().map_or(8, |processors| (2 * processors.get()).max(8))
}
