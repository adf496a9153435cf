//! The embedded interpreter as the daemon sees it: a socket, and how to start the process that owns it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use python_interpreter::executor::longest_answer;
use python_interpreter::wire::ExecuteRequest;
use python_interpreter_mcp::endpoint::{self, EndpointError, Owner, Socket};
use rustix::process::{Pid, Signal, kill_process};

use super::capabilities::Capabilities;
use super::client::{AddressError, Answer, ApiClient};
use super::context::CallContext;
use super::failure::{Failure, Limit};
use super::files::{FileError, Reading};
use super::interface::{Interpreter, Pending};

/// How long a call may take on top of the program's time limit.
const MARGIN: Duration = Duration::from_secs(5);
/// How long it may take to say what it can do: it starts Python first.
const CAPABILITIES_DEADLINE: Duration = Duration::from_secs(90);
const RUNNING_DEADLINE: Duration = Duration::from_secs(1);
/// The interpreter counts as running for so long after a call.
const RUNS_AFTER_CALL: Duration = Duration::from_secs(60);

pub struct Embedded {
    client: ApiClient,
    path: PathBuf,
    owner: Owner,
    last_call: Mutex<Option<Instant>>,
}

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("there is no directory for the embedded interpreter's socket: {0}")]
    Socket(#[from] EndpointError),
    #[error("this program's own path, which starts the embedded interpreter, is unknown: {0}")]
    OwnPath(#[source] std::io::Error),
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl Embedded {
    /// `flags` hold what it does not find in the environment and the configuration file.
    pub fn new(flags: &[OsString]) -> Result<Self, EmbeddedError> {
        let path = endpoint::socket_path(Socket::Interpreter)?;
        let owner = Owner {
            program: std::env::current_exe().map_err(EmbeddedError::OwnPath)?,
            arguments: ["interpreter".into(), "--background".into()].into_iter().chain(flags.iter().cloned()).collect(),
            unit: Some(Socket::Interpreter.unit()),
            log: endpoint::state_directory().map(|directory| directory.join("interpreter.log")),
        };
        Ok(Self { client: ApiClient::embedded(&path)?, path, owner, last_call: Mutex::new(None) })
    }

    fn last_call(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last_call.lock().unwrap_or_else(PoisonError::into_inner)
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

/// If no connection can be made, nothing was sent. The interpreter is then started, and the request is sent.
impl Interpreter for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn execute<'a>(
        &'a self,
        request: &'a mut ExecuteRequest,
        limit: Limit,
        context: &'a CallContext,
    ) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            *self.last_call() = Some(Instant::now());
            request.timeout_seconds = Some(limit.time.as_secs_f64());
            let end = Instant::now() + longest_answer(limit.time) + MARGIN;
            let remaining = || end.saturating_duration_since(Instant::now());
            let result = match self.client.execute(request, remaining(), limit, context).await {
                Err(failure) if failure.was_never_sent() => {
                    self.start().await?;
                    self.client.execute(request, remaining(), limit, context).await
                }
                result => result,
            };
            result.map_err(Failure::unwrap_detail)
        })
    }

    fn has_files(&self) -> bool {
        true
    }

    fn read_file<'a>(&'a self, id: &'a str, offset: u64, length: u64) -> Reading<'a> {
        Box::pin(async move {
            match self.client.file(id, offset, length).await {
                Err(FileError::NotReached) => {
                    self.start().await.map_err(|failure| FileError::Unreadable(failure.detail()))?;
                    self.client.file(id, offset, length).await
                }
                read => read,
            }
        })
    }

    fn capabilities(&self) -> Pending<'_, Option<Capabilities>> {
        Box::pin(async move {
            let asked = match self.client.capabilities(CAPABILITIES_DEADLINE).await {
                Err(failure) if failure.was_never_sent() => match self.start().await {
                    Ok(()) => self.client.capabilities(CAPABILITIES_DEADLINE).await,
                    Err(failure) => Err(failure),
                },
                asked => asked,
            };
            asked
                .inspect_err(|failure| {
                    tracing::warn!(error = failure.detail(), "interpreter does not say what it can do")
                })
                .ok()
        })
    }

    /// Nothing is sent unless it was called lately: where systemd listens for it, connecting would start it.
    fn capabilities_if_running(&self) -> Pending<'_, Option<Capabilities>> {
        Box::pin(async move {
            let last_call = *self.last_call();
            if last_call.is_none_or(|last| last.elapsed() > RUNS_AFTER_CALL) {
                return None;
            }
            self.client.capabilities(RUNNING_DEADLINE).await.ok()
        })
    }

    fn reload(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            let told = match self.client.process(RUNNING_DEADLINE).await {
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
        })
    }

    fn log(&self) -> Option<&Path> {
        self.owner.log.as_deref()
    }
}
