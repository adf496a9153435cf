//! The client of the interpreter API: sends one execution to one interpreter, once, over a connection that is kept warm, and
//! turns whatever happens into the tool's result. Which interpreter it is, `choice` decides.

mod choice;
mod failure;
mod http;
mod url;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use python_interpreter::executor::longest_answer;
use python_interpreter::wire::{ExecuteRequest, ExecuteResponse};
use python_interpreter_mcp::endpoint::{self, EndpointError, Owner, Socket};

use choice::{Choice, Target};
use failure::Failure;
use http::{Address, Answer};
pub use url::ServiceUrl;

/// What the way to the embedded interpreter and back may take, beyond what it takes itself.
const EMBEDDED_MARGIN: Duration = Duration::from_secs(5);
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
}

/// How an execution ended. The words are what the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The program ran to its end, whatever its exit code.
    Finished,
    TimedOut,
    /// It could not be run, or its result did not arrive.
    Failed,
}

/// What became of one execution.
#[derive(Debug)]
pub struct Execution {
    pub response: ExecuteResponse,
    pub outcome: Outcome,
    /// Which interpreter it was: a URL or "embedded".
    pub interpreter: String,
}

/// The embedded interpreter as the daemon sees it: a socket, and how to start who owns it.
struct Embedded {
    address: Address,
    path: PathBuf,
    owner: Owner,
}

pub struct InterpreterApi {
    timeout: Duration,
    choice: Choice,
    service: Address,
    embedded: Embedded,
}

#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("the embedded interpreter's socket has no place: {0}")]
    Socket(#[from] EndpointError),
    #[error("this program's own path, which starts the embedded interpreter, is unknown: {0}")]
    OwnPath(#[source] std::io::Error),
    #[error("the HTTP client could not be set up: {0}")]
    Client(#[from] reqwest::Error),
}

impl InterpreterApi {
    pub fn new(settings: &Settings) -> Result<Self, SetUpError> {
        let path = endpoint::socket_path(Socket::Interpreter)?;
        let owner = Owner {
            program: std::env::current_exe().map_err(SetUpError::OwnPath)?,
            // The limit goes along, because a flag of ours is not in its environment.
            arguments: vec![
                "interpreter".into(),
                "--background".into(),
                "--timeout".into(),
                settings.timeout.to_string().into(),
            ],
            log: endpoint::state_directory().map(|directory| directory.join("interpreter.log")),
        };
        let choice = Choice::new(settings.interpreter_url.clone());
        Ok(Self {
            timeout: Duration::from_secs(settings.timeout),
            service: Address::service(choice.service_url())?,
            choice,
            embedded: Embedded { address: Address::embedded(&path)?, path, owner },
        })
    }

    /// Runs the code. Dropping the future closes the connection, which ends the run.
    pub async fn execute(&self, request: ExecuteRequest) -> Execution {
        let (target, result) = self.execute_somewhere(request).await;
        let interpreter = self.name(target).to_owned();
        match result {
            Ok(Answer { response, timed_out }) => {
                let outcome = if timed_out { Outcome::TimedOut } else { Outcome::Finished };
                Execution { response, outcome, interpreter }
            }
            Err(failure) => {
                tracing::warn!(interpreter, error = failure.detail(), "execution failed");
                let log = match target {
                    Target::Embedded => self.embedded.owner.log.as_deref(),
                    _ => None,
                };
                Execution { outcome: failure.outcome(), response: failure.into_response(log), interpreter }
            }
        }
    }

    fn name(&self, target: Target) -> &str {
        match target {
            Target::Configured | Target::Detected => self.choice.service_url().as_str(),
            Target::Embedded => "embedded",
        }
    }

    async fn execute_somewhere(&self, request: ExecuteRequest) -> (Target, Result<Answer, Failure>) {
        match self.choice.target().await {
            Target::Configured => (Target::Configured, self.at_service(&request).await),
            Target::Detected => match self.at_service(&request).await {
                // Nobody listened, so nothing was sent: the one case in which another interpreter may get the call.
                Err(failure) if failure.was_never_sent() => {
                    self.choice.look_again().await;
                    (Target::Embedded, self.at_embedded(request).await)
                }
                result => (Target::Detected, result),
            },
            Target::Embedded => (Target::Embedded, self.at_embedded(request).await),
        }
    }

    async fn at_service(&self, request: &ExecuteRequest) -> Result<Answer, Failure> {
        self.service.execute(request, self.timeout, self.timeout).await
    }

    async fn at_embedded(&self, mut request: ExecuteRequest) -> Result<Answer, Failure> {
        let limit = *request.timeout_seconds.get_or_insert(self.timeout.as_secs_f64());
        let limit = Duration::try_from_secs_f64(limit).unwrap_or(self.timeout);
        let deadline = Instant::now() + longest_answer(limit) + EMBEDDED_MARGIN;
        let remaining = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        match self.embedded.address.execute(&request, remaining(deadline), limit).await {
            // It is not there yet, or it left because nobody needed it: nothing was sent.
            Err(failure) if failure.was_never_sent() => {
                self.embedded.start().await?;
                self.embedded.address.execute(&request, remaining(deadline), limit).await
            }
            result => result,
        }
        .map_err(Failure::unwrap_detail)
    }
}

impl Embedded {
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
