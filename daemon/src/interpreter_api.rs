//! The client of the interpreter API: sends one execution to one interpreter, once, over a connection that is kept warm, and
//! turns whatever happens into the tool's result. Which interpreter it is, `choice` decides.

mod settings;
mod url;

mod choice;
mod embedded;

mod connections;
mod context;
mod events;
mod http;
mod last_line;

mod execution;
mod failure;

mod capabilities;
mod files;

use std::ffi::OsString;
use std::time::Duration;

use python_interpreter::wire::{ExecuteRequest, ExecuteResponse, is_file_id};
use python_interpreter::{rooms, shortened};
use python_interpreter_mcp::endpoint::EndpointError;

pub use capabilities::{Capabilities, Slots};
use choice::{Choice, Target};
pub use choice::{Listening, listening};
pub use context::{CallContext, Trace};
use embedded::Embedded;
pub use execution::{Execution, Outcome};
use failure::Failure;
pub use failure::Limit;
use files::Directory;
pub use files::{FileError, FileSource, Part, Reading};
use http::{Address, AddressError, Answer};
pub use settings::{MAX_TIMEOUT_SECONDS, Settings, default_concurrency};
pub use url::ServiceUrl;

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
        let choice = Choice::new(settings.interpreter_url.clone());
        Ok(Self {
            timeout: Duration::from_secs(settings.timeout),
            service: Address::service(choice.service_url(), settings.interpreter_url.is_some())?,
            service_files: settings.interpreter_files.clone().map(Directory),
            choice,
            embedded: Embedded::new(flags)?,
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
                    Target::Embedded => self.embedded.log(),
                    _ => None,
                };
                let (outcome, response) = (failure.outcome(), failure.into_response(log));
                Execution { response, outcome, interpreter, has_files, error }
            }
        }
    }

    /// What the interpreter can do, where it says so: the embedded one does. Starts it.
    pub async fn capabilities(&self) -> Option<Capabilities> {
        match self.choice.target().await {
            Target::Embedded => self.embedded.capabilities().await,
            Target::Configured | Target::Detected => None,
        }
    }

    /// Has the embedded interpreter read its settings again, if it is there.
    pub async fn reload_embedded(&self) {
        self.embedded.reload().await;
    }

    /// What the embedded interpreter says of itself, if it was needed lately.
    pub async fn embedded_in_use(&self) -> Option<Capabilities> {
        self.embedded.in_use().await
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
                    (Target::Embedded, self.embedded.execute(request, self.limit(request), context).await)
                }
                result => (Target::Detected, result),
            },
            Target::Embedded => (Target::Embedded, self.embedded.execute(request, self.limit(request), context).await),
        }
    }

    async fn at_service(&self, request: &mut ExecuteRequest, context: &CallContext) -> Result<Answer, Failure> {
        // A service has a limit of its own; where the call's is shorter, the connection is closed then.
        let limit = self.limit(request);
        // What it does not know it is not sent; another interpreter may be.
        let most = request.output_characters.take();
        let answer = self.service.execute(request, limit.time, limit, context).await;
        request.output_characters = most;
        let mut answer = answer?;
        if let Some(most) = most {
            shorten(&mut answer.response, most);
        }
        Ok(answer)
    }

    /// How long a call may take.
    pub fn limit(&self, request: &ExecuteRequest) -> Limit {
        let own = request.timeout_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match own {
            Some(own) if own < self.timeout => Limit { time: own, is_of_call: true },
            _ => Limit { time: self.timeout, is_of_call: false },
        }
    }
}

impl FileSource for InterpreterApi {
    fn read<'a>(&'a self, id: &'a str, offset: u64, length: u64) -> Reading<'a> {
        Box::pin(async move {
            if !is_file_id(id) {
                return Err(FileError::Missing(id.to_owned()));
            }
            match (self.choice.target().await, &self.service_files) {
                (Target::Embedded, _) => self.embedded.file(id, offset, length).await,
                (Target::Configured | Target::Detected, Some(files)) => files.read(id, offset, length).await,
                (Target::Configured | Target::Detected, None) => Err(FileError::NoSource),
            }
        })
    }
}

/// Cuts what a service has printed; unlike the embedded interpreter it has nowhere to keep the whole.
fn shorten(response: &mut ExecuteResponse, most: usize) {
    let rooms = rooms(most, [&response.stdout, &response.stderr]);
    for (text, room) in [&mut response.stdout, &mut response.stderr].into_iter().zip(rooms) {
        if let Some(shortened) = shortened(text, room, text.len() as u64) {
            *text = shortened;
        }
    }
}
