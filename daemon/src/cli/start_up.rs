//! What the daemon and the interpreter do before they serve: log, session, limits, event loop.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit};
use tokio::runtime::{Builder, Runtime};

use crate::logging::{self, Log};

/// How long the process waits at its end for a blocked thread, which may hang on a lock or on a dead directory.
const END_DEADLINE: Duration = Duration::from_millis(500);

/// With `background`, the process leaves the terminal of whoever started it, and its log file is its own.
pub fn start_up(settings: &logging::Settings, background: bool) -> anyhow::Result<(EventLoop, logging::Filter)> {
    let (filter, log) = logging::start(settings, background);
    if background {
        // Fails for the leader of a process group, which no client's terminal can end anyway.
        let _ = rustix::process::setsid();
    }
    raise_descriptor_limit();
    give_back_large_memory();
    let runtime = Builder::new_current_thread().enable_all().build().context("the event loop could not be started")?;
    Ok((EventLoop { runtime, _log: log }, filter))
}

/// The thread that serves, and the thread that writes the log.
pub struct EventLoop {
    runtime: Runtime,
    _log: Log,
}

impl EventLoop {
    /// Serves until the future completes. Threads that hang are abandoned.
    pub fn block_on<F: Future>(self, serving: F) -> F::Output {
        let served = self.runtime.block_on(serving);
        self.runtime.shutdown_timeout(END_DEADLINE);
        served
    }
}

/// What SIGHUP means: the end of the terminal for a process that was started in one, else a request to reload.
#[derive(Debug, Clone, Copy)]
pub struct Sighup {
    in_terminal: bool,
}

impl Sighup {
    pub fn new() -> Self {
        Self { in_terminal: io::stderr().is_terminal() }
    }

    /// Whether the terminal has ended: stderr is no terminal any more then.
    pub fn is_end(self) -> bool {
        self.in_terminal && !io::stderr().is_terminal()
    }
}

/// Larger pieces of memory go back to the kernel as soon as they are freed.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 256 * 1024;

/// By default the GNU C library keeps the memory of large answers. Measured after 48 answers of 3 MiB: 10 MB are resident with this
/// setting, 110 to 140 MB without.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's setting has no safe interface")]
fn give_back_large_memory() {
    // SAFETY: it sets one number, under the library's own lock.
    if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) } != 1 {
        tracing::debug!("the C library does not take the threshold for large memory");
    }
}

#[cfg(not(target_env = "gnu"))]
fn give_back_large_memory() {}

/// The default limit of 1,024 descriptors is for programs that call select(2). This one does not, and needs two for each client and one
/// for each call.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of descriptors cannot be raised");
    }
}
