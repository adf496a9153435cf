//! The embedded interpreter as the daemon sees it: a socket, and how to start who owns it. Whatever is asked of it, it is
//! started for, where nothing was sent because it is not there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use python_interpreter::executor::longest_answer;
use python_interpreter::wire::ExecuteRequest;
use python_interpreter_mcp::endpoint::{self, Owner, Socket};
use rustix::process::{Pid, Signal, kill_process};

use super::SetUpError;
use super::capabilities::Capabilities;
use super::context::CallContext;
use super::failure::{Failure, Limit};
use super::files::{FileError, Part};
use super::http::{Address, Answer};

/// What the way there and back may take, beyond what it takes itself.
const MARGIN: Duration = Duration::from_secs(5);
/// How long it may take to say what it can do: it starts Python for that.
const CAPABILITIES_DEADLINE: Duration = Duration::from_secs(90);
const SLOTS_DEADLINE: Duration = Duration::from_secs(1);
/// For so long after a call it is certainly there: it stays for longer without one.
const IN_USE: Duration = Duration::from_secs(60);

pub struct Embedded {
    address: Address,
    path: PathBuf,
    owner: Owner,
    /// When a call went there.
    needed: Mutex<Option<Instant>>,
}

impl Embedded {
    /// `flags` are those that it needs where it is started, because it cannot find them where it looks itself.
    pub fn new(flags: &[OsString]) -> Result<Self, SetUpError> {
        let path = endpoint::socket_path(Socket::Interpreter)?;
        let owner = Owner {
            program: std::env::current_exe().map_err(SetUpError::OwnPath)?,
            arguments: ["interpreter".into(), "--background".into()].into_iter().chain(flags.iter().cloned()).collect(),
            unit: Some(Socket::Interpreter.unit()),
            log: endpoint::state_directory().map(|directory| directory.join("interpreter.log")),
        };
        Ok(Self { address: Address::embedded(&path)?, path, owner, needed: Mutex::new(None) })
    }

    /// Where it says what went wrong.
    pub fn log(&self) -> Option<&Path> {
        self.owner.log.as_deref()
    }

    /// Runs the code, for no longer than `limit`.
    pub async fn execute(
        &self,
        request: &mut ExecuteRequest,
        limit: Limit,
        context: &CallContext,
    ) -> Result<Answer, Failure> {
        *self.needed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        request.timeout_seconds = Some(limit.time.as_secs_f64());
        let deadline = Instant::now() + longest_answer(limit.time) + MARGIN;
        let remaining = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        match self.address.execute(request, remaining(deadline), limit, context).await {
            // It is not there yet, or it left because nobody needed it: nothing was sent.
            Err(failure) if failure.was_never_sent() => {
                self.start().await?;
                self.address.execute(request, remaining(deadline), limit, context).await
            }
            result => result,
        }
        .map_err(Failure::unwrap_detail)
    }

    /// What it can do.
    pub async fn capabilities(&self) -> Option<Capabilities> {
        let asked = match self.address.capabilities(CAPABILITIES_DEADLINE).await {
            Err(failure) if failure.was_never_sent() => match self.start().await {
                Ok(()) => self.address.capabilities(CAPABILITIES_DEADLINE).await,
                Err(failure) => Err(failure),
            },
            asked => asked,
        };
        asked
            .inspect_err(|failure| tracing::warn!(error = failure.detail(), "interpreter does not say what it can do"))
            .ok()
    }

    /// What it says of itself, if it was needed lately. Where systemd listens for it, asking would start it.
    pub async fn in_use(&self) -> Option<Capabilities> {
        let last = *self.needed.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() > IN_USE) {
            return None;
        }
        self.address.capabilities(SLOTS_DEADLINE).await.ok()
    }

    /// Reads a part of a file that it keeps.
    pub async fn file(&self, id: &str, offset: u64, length: u64) -> Result<Part, FileError> {
        match self.address.file(id, offset, length).await {
            Err(FileError::NotReached) => {
                let started = self.start().await;
                started.map_err(|failure| FileError::Unreadable(failure.detail()))?;
                self.address.file(id, offset, length).await
            }
            read => read,
        }
    }

    /// Has it read its settings again, if it is there.
    pub async fn reload(&self) {
        let told = match self.address.process(SLOTS_DEADLINE).await {
            Err(failure) if failure.was_never_sent() => return,
            Err(failure) => Err(failure.detail()),
            Ok(process) => match Pid::from_raw(process) {
                Some(process) => kill_process(process, Signal::HUP).map_err(|error| error.to_string()),
                None => Err("it has no process id".to_owned()),
            },
        };
        if let Err(error) = told {
            tracing::warn!(error, "the interpreter cannot be told to read its settings again");
        }
    }

    async fn start(&self) -> Result<(), Failure> {
        let (path, owner) = (self.path.clone(), self.owner.clone());
        // It waits for a lock and forks, so it stays off the event loop.
        let started = tokio::task::spawn_blocking(move || endpoint::ensure_listening(&path, &owner)).await;
        match started {
            Ok(Ok(started)) => {
                if started {
                    tracing::info!("embedded interpreter started");
                }
                Ok(())
            }
            Ok(Err(error)) => Err(Failure::NotStarted(error.to_string())),
            Err(error) => Err(Failure::NotStarted(error.to_string())),
        }
    }
}
