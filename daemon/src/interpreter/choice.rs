//! Which interpreter a call goes to: the configured service; else the one that listens on port 50081 of this machine, if it belongs to
//! this user or to root; else the embedded interpreter.

use std::fmt;
use std::time::{Duration, Instant};

use python_interpreter::wire::{ExecuteRequest, Outcome, is_file_id};
use tokio::sync::Mutex;

use super::capabilities::Capabilities;
use super::client::Answer;
use super::context::CallContext;
use super::detect::{Listening, listening};
use super::execution::{Execution, ExecutionOutcome};
use super::failure::{Failure, Limit};
use super::files::{FileError, FileSource, Reading};
use super::interface::Interpreter;
use super::settings::Settings;

/// How long an answer to "does a service listen?" holds.
const DETECTION_HOLDS: Duration = Duration::from_secs(5);

/// All interpreters that calls can go to.
pub struct Interpreters {
    /// The longest time of one execution.
    pub timeout: Duration,
    service: Box<dyn Interpreter>,
    embedded: Box<dyn Interpreter>,
    is_configured: bool,
    last: Mutex<Option<(Instant, Reason)>>,
}

/// The interpreter of one call.
pub struct Chosen<'a> {
    pub interpreter: &'a dyn Interpreter,
    pub reason: Reason,
}

/// Why it is this interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Configured,
    Detected,
    NothingElse,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Configured => "it is configured",
            Self::Detected => "it listens on this machine and is yours or root's",
            Self::NothingElse => "no service is configured, and none of yours or root's listens on port 50081",
        })
    }
}

impl Interpreters {
    /// `service` is the configured service, or else the one that may listen on this machine.
    pub fn new(settings: &Settings, service: Box<dyn Interpreter>, embedded: Box<dyn Interpreter>) -> Self {
        Self {
            timeout: settings.limits.timeout,
            service,
            embedded,
            is_configured: settings.interpreter_url.is_some(),
            last: Mutex::new(None),
        }
    }

    /// The interpreter that the next call goes to.
    pub async fn choose(&self) -> Chosen<'_> {
        let reason = if self.is_configured { Reason::Configured } else { self.detect().await };
        let interpreter = match reason {
            Reason::Configured | Reason::Detected => &*self.service,
            Reason::NothingElse => &*self.embedded,
        };
        Chosen { interpreter, reason }
    }

    async fn detect(&self) -> Reason {
        // Held while looking, so that calls that arrive together wait for one look.
        let mut last = self.last.lock().await;
        if let Some((when, reason)) = *last
            && when.elapsed() < DETECTION_HOLDS
        {
            return reason;
        }
        // The kernel's tables are long on a busy machine.
        let found = tokio::task::spawn_blocking(listening).await;
        let (reason, interpreter) = match found {
            Ok(Listening::Trusted) => (Reason::Detected, &self.service),
            _ => (Reason::NothingElse, &self.embedded),
        };
        if last.is_none_or(|(_, last)| last != reason) {
            tracing::info!(interpreter = interpreter.name(), "interpreter chosen");
        }
        *last = Some((Instant::now(), reason));
        reason
    }

    /// Runs the program on one interpreter. Dropping the future ends the program.
    pub async fn execute(&self, request: &mut ExecuteRequest, context: &CallContext) -> Execution {
        let limit = self.limit(request);
        let Chosen { mut interpreter, reason } = self.choose().await;
        let mut result = interpreter.execute(request, limit, context).await;
        // Only a call that was provably never sent may go to another interpreter, and only where the user named none.
        if reason == Reason::Detected && result.as_ref().is_err_and(Failure::was_never_sent) {
            *self.last.lock().await = None;
            interpreter = &*self.embedded;
            result = interpreter.execute(request, limit, context).await;
        }
        execution(interpreter, result)
    }

    /// How long a call may take.
    pub fn limit(&self, request: &ExecuteRequest) -> Limit {
        let own = request.timeout_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match own {
            Some(own) if own < self.timeout => Limit { time: own, is_of_call: true },
            _ => Limit { time: self.timeout, is_of_call: false },
        }
    }

    /// What the interpreter of the next call says it can do, if it says so.
    pub async fn capabilities(&self) -> Option<Capabilities> {
        self.choose().await.interpreter.capabilities().await
    }

    /// What the embedded interpreter says of itself, if it runs.
    pub async fn embedded_if_running(&self) -> Option<Capabilities> {
        self.embedded.capabilities_if_running().await
    }

    /// Makes the interpreters that run read their settings again.
    pub async fn reload(&self) {
        self.service.reload().await;
        self.embedded.reload().await;
    }
}

impl FileSource for Interpreters {
    fn read<'a>(&'a self, id: &'a str, offset: u64, length: u64) -> Reading<'a> {
        Box::pin(async move {
            if !is_file_id(id) {
                return Err(FileError::Missing(id.to_owned()));
            }
            self.choose().await.interpreter.read_file(id, offset, length).await
        })
    }
}

fn execution(interpreter: &dyn Interpreter, result: Result<Answer, Failure>) -> Execution {
    let (response, outcome, error) = match result {
        Ok(Answer { response, outcome }) => {
            let outcome = match outcome {
                Some(Outcome::TimedOut) => ExecutionOutcome::TimedOut,
                Some(Outcome::Stopped) => ExecutionOutcome::Stopped,
                Some(Outcome::Finished | Outcome::Limited) | None => ExecutionOutcome::Finished,
            };
            (response, outcome, None)
        }
        Err(failure) => {
            let (outcome, error) = (failure.outcome(), failure.detail());
            (failure.into_response(interpreter.log()), outcome, Some(error))
        }
    };
    Execution {
        response,
        outcome,
        interpreter: interpreter.name().to_owned(),
        has_files: interpreter.has_files(),
        error,
    }
}
