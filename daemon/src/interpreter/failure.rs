//! Why a program has no result, and the text that the user reads for each reason.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use python_interpreter::wire::ExecuteResponse;
use serde_json::Value;

use super::execution::ExecutionOutcome;

/// The exit code of timeout(1).
pub const TIMEOUT_EXIT_CODE: i32 = 124;
const FAILURE_EXIT_CODE: i32 = 1;
/// How much of an error's body is shown.
pub const MAX_SHOWN_BODY_BYTES: usize = 4 * 1024;
/// How much of an answer that is not the API's is shown.
pub const MAX_SHOWN_ANSWER_BYTES: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot connect to {url}")]
    NotReached { url: String, source: Box<dyn Error + Send + Sync> },
    #[error("{0}")]
    NotStarted(String),
    #[error("connection to {url} dropped")]
    Dropped { url: String, source: Box<dyn Error + Send + Sync> },
    #[error("HTTP status {status}")]
    Status { status: u16, body: Vec<u8> },
    #[error("no answer within {} s", limit.time.as_secs_f64())]
    Timeout { url: String, limit: Limit },
    #[error("the daemon was stopped before")]
    StoppedBefore,
    #[error("the daemon was stopped meanwhile")]
    Stopped { url: String },
    #[error("answer is not the API's: {reason}")]
    NotTheApi { url: String, reason: String, first: Vec<u8> },
    #[error("answer of more than {limit} bytes")]
    TooLarge { url: String, limit: usize, first: Vec<u8> },
}

/// How long an execution may take.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub time: Duration,
    /// The call's own `timeout_seconds`; else the setting.
    pub is_of_call: bool,
}

impl Failure {
    /// Whether the request was provably never sent, because there was no connection.
    pub fn was_never_sent(&self) -> bool {
        matches!(self, Self::NotReached { .. })
    }

    /// Takes the message of our own interpreter out of its JSON (`{"detail": …}`). The body of a foreign service is shown unchanged.
    pub fn unwrap_detail(self) -> Self {
        match self {
            Self::Status { status, body } => match serde_json::from_slice::<Value>(&body) {
                Ok(Value::Object(mut object)) => match object.remove("detail") {
                    Some(Value::String(detail)) => Self::Status { status, body: detail.into_bytes() },
                    _ => Self::Status { status, body },
                },
                _ => Self::Status { status, body },
            },
            other => other,
        }
    }

    pub fn outcome(&self) -> ExecutionOutcome {
        match self {
            Self::Timeout { .. } => ExecutionOutcome::TimedOut,
            Self::Stopped { .. } | Self::StoppedBefore => ExecutionOutcome::Stopped,
            _ => ExecutionOutcome::Failed,
        }
    }

    /// The whole chain of causes, for the log. It holds nothing of the program or its output.
    pub fn detail(&self) -> String {
        with_sources(self)
    }

    /// The result that the client gets. `log` is the interpreter's log file.
    pub fn into_response(self, log: Option<&Path>) -> ExecuteResponse {
        let exit_code = match self {
            Self::Timeout { .. } => TIMEOUT_EXIT_CODE,
            _ => FAILURE_EXIT_CODE,
        };
        let hint = log.map(|log| format!(" Its log is {}.", log.display())).unwrap_or_default();
        let stderr = match self {
            Self::NotReached { url, source } => format!(
                "Request error: cannot connect to the Python interpreter at {url}: {}. Check that it is running and that \
                 this is its address (PYTHON_INTERPRETER_MCP_URL). The code was not run.{hint}",
                root_cause(source.as_ref())
            ),
            Self::NotStarted(reason) => format!(
                "Request error: the embedded Python interpreter could not be started: {reason}. The code was not \
                 run.{hint}"
            ),
            Self::Dropped { url, source } => format!(
                "Request error: the connection to the Python interpreter at {url} ended before its answer was complete: \
                 {}. The code may or may not have run, and it was not sent again. Check that the interpreter is still \
                 running.{hint}",
                root_cause(source.as_ref())
            ),
            Self::Status { status, body } => format!("HTTP error {status}: {}", shown_text(&body)),
            Self::Timeout { url, limit } => format!(
                "Timeout after {} s: no answer from the Python interpreter at {url}. The limit is {}.",
                limit.time.as_secs_f64(),
                match limit.is_of_call {
                    true => "the call's own timeout_seconds",
                    false => "the setting --timeout (PYTHON_INTERPRETER_MCP_TIMEOUT)",
                }
            ),
            Self::StoppedBefore => "The interpreter daemon was stopped. The code was not run.".to_owned(),
            Self::Stopped { url } => format!(
                "The interpreter daemon was stopped before the Python interpreter at {url} answered. The code may or may not have run to \
                 its end, and what it printed is lost."
            ),
            Self::NotTheApi { url, reason, first } => format!(
                "The answer from {url} is not the interpreter API's JSON ({reason}). Check that this is the address of a \
                 Python interpreter service. The answer begins with: {}",
                shown_bytes(&first)
            ),
            Self::TooLarge { url, limit, first } => format!(
                "The answer from {url} is larger than the limit of {} MiB. Let the program print less, or write files. \
                 The answer begins with: {}",
                limit >> 20,
                shown_bytes(&first)
            ),
        };
        ExecuteResponse { exit_code, stderr, ..ExecuteResponse::default() }
    }
}

fn shown_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_SHOWN_BODY_BYTES)]);
    // A character that the bound cuts in two is left out.
    let text = match body.len() > MAX_SHOWN_BODY_BYTES {
        true => text.trim_end_matches(char::REPLACEMENT_CHARACTER),
        false => &text,
    };
    let more = if body.len() > MAX_SHOWN_BODY_BYTES { " … (cut off)" } else { "" };
    format!("{text}{more}")
}

fn shown_bytes(first: &[u8]) -> String {
    format!("\"{}\"", first[..first.len().min(MAX_SHOWN_ANSWER_BYTES)].escape_ascii())
}

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

fn root_cause(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_body_is_cut_between_characters() {
        let body = format!("{}{}", "x".repeat(MAX_SHOWN_BODY_BYTES - 1), "é".repeat(9));
        let response = Failure::Status { status: 502, body: body.into_bytes() }.into_response(None);
        assert_eq!(response.stderr, format!("HTTP error 502: {} … (cut off)", "x".repeat(MAX_SHOWN_BODY_BYTES - 1)));
    }

    #[test]
    fn strange_bytes_are_shown_escaped_and_bounded() {
        let first = [b'\x1b'; 1000].to_vec();
        let failure = Failure::NotTheApi { url: "http://x".into(), reason: "r".into(), first };
        let response = failure.into_response(None);
        assert!(response.stderr.ends_with(&format!("\"{}\"", "\\x1b".repeat(MAX_SHOWN_ANSWER_BYTES))));
    }
}
