//! The client of the interpreter API: sends one execution to one interpreter, once, over a connection that is kept warm, and
//! turns whatever happens into the tool's result. Which interpreter it is, `choice` decides.

mod choice;
mod url;

mod connections;
mod context;
mod events;
mod http;
mod last_line;

mod failure;

mod capabilities;
mod files;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use python_interpreter::executor::longest_answer;
use python_interpreter::wire::{ExecuteRequest, ExecuteResponse, is_file_id};
use python_interpreter::{rooms, shortened};
use python_interpreter_mcp::endpoint::{self, EndpointError, Owner, Socket};

pub use capabilities::{Capabilities, Slots};
use choice::{Choice, Target};
pub use choice::{Listening, listening};
pub use context::{CallContext, Trace};
use failure::Failure;
use files::{Directory, Reading};
pub use files::{FileError, FileSource, Part};
use http::{Address, AddressError, Answer};
pub use url::ServiceUrl;

/// What the way to the embedded interpreter and back may take, beyond what it takes itself.
const EMBEDDED_MARGIN: Duration = Duration::from_secs(5);
/// How long the embedded interpreter may take to say what it can do: it starts Python for that.
const CAPABILITIES_DEADLINE: Duration = Duration::from_secs(90);
const SLOTS_DEADLINE: Duration = Duration::from_secs(1);
/// For so long after a call the embedded interpreter is certainly there: it stays for longer without one.
const IN_USE: Duration = Duration::from_secs(60);
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

/// How an execution ended. The words are what the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The program ran to its end, whatever its exit code.
    Finished,
    TimedOut,
    /// It could not be run, or its result did not arrive.
    Failed,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
        }
    }
}

/// What became of one execution.
#[derive(Debug)]
pub struct Execution {
    pub response: ExecuteResponse,
    pub outcome: Outcome,
    /// Which interpreter it was: a URL or "embedded".
    pub interpreter: String,
    /// Its files can be read by their ids.
    pub has_files: bool,
    /// Why there is no result of the program's own, for the log.
    pub error: Option<String>,
}

/// The embedded interpreter as the daemon sees it: a socket, and how to start who owns it.
struct Embedded {
    address: Address,
    path: PathBuf,
    owner: Owner,
    /// When a call went there.
    needed: Mutex<Option<Instant>>,
}

pub struct InterpreterApi {
    pub timeout: Duration,
    choice: Choice,
    service: Address,
    service_files: Option<Directory>,
    embedded: Embedded,
}

#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("the embedded interpreter's socket has no place: {0}")]
    Socket(#[from] EndpointError),
    #[error("this program's own path, which starts the embedded interpreter, is unknown: {0}")]
    OwnPath(#[source] std::io::Error),
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl InterpreterApi {
    /// `flags` are those that the embedded interpreter needs where it is started, because it cannot find them where it looks itself.
    pub fn new(settings: &Settings, flags: &[OsString]) -> Result<Self, SetUpError> {
        let path = endpoint::socket_path(Socket::Interpreter)?;
        let owner = Owner {
            program: std::env::current_exe().map_err(SetUpError::OwnPath)?,
            arguments: ["interpreter".into(), "--background".into()].into_iter().chain(flags.iter().cloned()).collect(),
            unit: Some(Socket::Interpreter.unit()),
            log: endpoint::state_directory().map(|directory| directory.join("interpreter.log")),
        };
        let choice = Choice::new(settings.interpreter_url.clone());
        Ok(Self {
            timeout: Duration::from_secs(settings.timeout),
            service: Address::service(choice.service_url())?,
            service_files: settings.interpreter_files.clone().map(Directory),
            choice,
            embedded: Embedded { address: Address::embedded(&path)?, path, owner, needed: Mutex::new(None) },
        })
    }

    /// Runs the code. Dropping the future closes the connection, which ends the run.
    pub async fn execute(&self, request: &mut ExecuteRequest, context: &CallContext) -> Execution {
        let (target, result) = self.execute_somewhere(request, context).await;
        let interpreter = self.name(target).to_owned();
        let has_files = target == Target::Embedded || self.service_files.is_some();
        match result {
            Ok(Answer { response, timed_out }) => {
                let outcome = if timed_out { Outcome::TimedOut } else { Outcome::Finished };
                Execution { response, outcome, interpreter, has_files, error: None }
            }
            Err(failure) => {
                let error = Some(failure.detail());
                let log = match target {
                    Target::Embedded => self.embedded.owner.log.as_deref(),
                    _ => None,
                };
                let (outcome, response) = (failure.outcome(), failure.into_response(log));
                Execution { response, outcome, interpreter, has_files, error }
            }
        }
    }

    /// What the interpreter can do, where it says so: the embedded one does. Starts it.
    pub async fn capabilities(&self) -> Option<Capabilities> {
        if self.choice.target().await != Target::Embedded {
            return None;
        }
        let asked = match self.embedded.address.capabilities(CAPABILITIES_DEADLINE).await {
            Err(failure) if failure.was_never_sent() => match self.embedded.start().await {
                Ok(()) => self.embedded.address.capabilities(CAPABILITIES_DEADLINE).await,
                Err(failure) => Err(failure),
            },
            asked => asked,
        };
        asked
            .inspect_err(|failure| tracing::warn!(error = failure.detail(), "interpreter does not say what it can do"))
            .ok()
    }

    /// Has the embedded interpreter read its settings again, if it is there.
    pub async fn reload_embedded(&self) {
        let told = match self.embedded.address.process(SLOTS_DEADLINE).await {
            Err(failure) if failure.was_never_sent() => return,
            Err(failure) => Err(failure.detail()),
            Ok(process) => match rustix::process::Pid::from_raw(process) {
                Some(process) => rustix::process::kill_process(process, rustix::process::Signal::HUP)
                    .map_err(|error| error.to_string()),
                None => Err("it has no process id".to_owned()),
            },
        };
        if let Err(error) = told {
            tracing::warn!(error, "the interpreter cannot be told to read its settings again");
        }
    }

    /// What the embedded interpreter says of itself, if it was needed lately. Where systemd listens for it, asking would start it.
    pub async fn embedded_in_use(&self) -> Option<Capabilities> {
        let last = *self.embedded.needed.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() > IN_USE) {
            return None;
        }
        self.embedded.address.capabilities(SLOTS_DEADLINE).await.ok()
    }

    /// Why the next call goes to the interpreter that [`Self::current`] names.
    pub async fn why(&self) -> &'static str {
        match self.choice.target().await {
            Target::Configured => "it is configured",
            Target::Detected => "it listens on this machine and is yours or root's",
            Target::Embedded => "nothing is configured, and no service of yours listens on port 50081",
        }
    }

    /// The name of the interpreter that the next call goes to: a URL or "embedded".
    pub async fn current(&self) -> &str {
        self.name(self.choice.target().await)
    }

    fn name(&self, target: Target) -> &str {
        match target {
            Target::Configured | Target::Detected => self.choice.service_url().as_str(),
            Target::Embedded => "embedded",
        }
    }

    async fn execute_somewhere(
        &self,
        request: &mut ExecuteRequest,
        context: &CallContext,
    ) -> (Target, Result<Answer, Failure>) {
        match self.choice.target().await {
            Target::Configured => (Target::Configured, self.at_service(request, context).await),
            Target::Detected => match self.at_service(request, context).await {
                // Nobody listened, so nothing was sent: the one case in which another interpreter may get the call.
                Err(failure) if failure.was_never_sent() => {
                    self.choice.look_again().await;
                    (Target::Embedded, self.at_embedded(request, context).await)
                }
                result => (Target::Detected, result),
            },
            Target::Embedded => (Target::Embedded, self.at_embedded(request, context).await),
        }
    }

    async fn at_service(&self, request: &mut ExecuteRequest, context: &CallContext) -> Result<Answer, Failure> {
        // A service has a limit of its own; where the call's is shorter, the connection is closed then.
        let limit = self.limit(request);
        // What it does not know it is not sent; another interpreter may be.
        let most = request.output_characters.take();
        let answer = self.service.execute(request, limit, limit, context).await;
        request.output_characters = most;
        let mut answer = answer?;
        if let Some(most) = most {
            shorten(&mut answer.response, most);
        }
        Ok(answer)
    }

    async fn at_embedded(&self, request: &mut ExecuteRequest, context: &CallContext) -> Result<Answer, Failure> {
        *self.embedded.needed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let limit = self.limit(request);
        request.timeout_seconds = Some(limit.as_secs_f64());
        let deadline = Instant::now() + longest_answer(limit) + EMBEDDED_MARGIN;
        let remaining = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        match self.embedded.address.execute(request, remaining(deadline), limit, context).await {
            // It is not there yet, or it left because nobody needed it: nothing was sent.
            Err(failure) if failure.was_never_sent() => {
                self.embedded.start().await?;
                self.embedded.address.execute(request, remaining(deadline), limit, context).await
            }
            result => result,
        }
        .map_err(Failure::unwrap_detail)
    }

    /// How long a call may take.
    pub fn limit(&self, request: &ExecuteRequest) -> Duration {
        let own = request.timeout_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        own.map_or(self.timeout, |own| own.min(self.timeout))
    }
}

impl FileSource for InterpreterApi {
    fn read<'a>(&'a self, id: &'a str, offset: u64, length: u64) -> Reading<'a> {
        Box::pin(async move {
            if !is_file_id(id) {
                return Err(FileError::Missing(id.to_owned()));
            }
            match (self.choice.target().await, &self.service_files) {
                (Target::Embedded, _) => self.read_embedded(id, offset, length).await,
                (Target::Configured | Target::Detected, Some(files)) => files.read(id, offset, length).await,
                (Target::Configured | Target::Detected, None) => Err(FileError::NoSource),
            }
        })
    }
}

impl InterpreterApi {
    async fn read_embedded(&self, id: &str, offset: u64, length: u64) -> Result<Part, FileError> {
        match self.embedded.address.file(id, offset, length).await {
            Err(FileError::NotReached) => {
                let started = self.embedded.start().await;
                started.map_err(|failure| FileError::Unreadable(failure.detail()))?;
                self.embedded.address.file(id, offset, length).await
            }
            read => read,
        }
    }
}

/// Cuts what a service has printed; unlike the embedded interpreter it has nowhere to keep the whole.
fn shorten(response: &mut ExecuteResponse, most: usize) {
    let rooms = rooms(most, [&response.stdout, &response.stderr]);
    for (text, room) in [&mut response.stdout, &mut response.stderr].into_iter().zip(rooms) {
        if let Some(shortened) = shortened(text, room) {
            *text = shortened;
        }
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
