//! What every service of this program does before it serves: its log, its session, its limits, its event loop.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit};
use tokio::runtime::{Builder, Runtime};

use crate::logging::{self, Log};

/// How long the process waits at its end for what a thread is still doing, such as a lock or a directory that does not answer.
const END_DEADLINE: Duration = Duration::from_millis(500);

/// `background` says that a client or the daemon started this process: then it leaves their terminal, and its log is its own.
pub fn start_up(settings: &logging::Settings, background: bool) -> anyhow::Result<(EventLoop, logging::Filter)> {
    let (filter, log) = logging::start(settings, background);
    if background {
        // It fails for the leader of a process group, who then is no client's child that a terminal could end.
        let _ = rustix::process::setsid();
    }
    raise_descriptor_limit();
    give_back_large_memory();
    let runtime = Builder::new_current_thread().enable_all().build().context("the event loop could not be started")?;
    Ok((EventLoop { runtime, _log: log }, filter))
}

/// One thread that serves, and one that writes its log.
pub struct EventLoop {
    runtime: Runtime,
    _log: Log,
}

impl EventLoop {
    /// Serves to the end, which waits for no thread that hangs.
    pub fn block_on<F: Future>(self, serving: F) -> F::Output {
        let served = self.runtime.block_on(serving);
        self.runtime.shutdown_timeout(END_DEADLINE);
        served
    }
}

/// What SIGHUP means to a process that was started in a terminal or not: the terminal's end, or that settings are to be read again.
#[derive(Debug, Clone, Copy)]
pub struct HangUp {
    in_terminal: bool,
}

impl HangUp {
    pub fn new() -> Self {
        Self { in_terminal: io::stderr().is_terminal() }
    }

    /// A terminal that has ended is none any more.
    pub fn is_end(self) -> bool {
        self.in_terminal && !io::stderr().is_terminal()
    }
}

/// From this size on, a piece of memory usually is the kernel's again as soon as it is free.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 256 * 1024;

/// By itself the GNU C library has larger and larger pieces beside small ones, and after a few large answers keeps what they took for good.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's setting has no safe interface")]
fn give_back_large_memory() {
    // SAFETY: it sets one number, under the library's own lock.
    if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) } != 1 {
        tracing::debug!("the C library gives memory back as it likes");
    }
}

#[cfg(not(target_env = "gnu"))]
fn give_back_large_memory() {}

/// Many systems allow 1,024 descriptors at first, for programs that call select(2). This one does not, and needs one or two
/// for each client and one for each call.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of descriptors stays");
    }
}
