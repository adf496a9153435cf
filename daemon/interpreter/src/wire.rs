//! The wire of the interpreter API: `POST /v1/execute`, the same JSON as the BeeAI Code Interpreter's.
//!
//! Both the service in this crate and its clients use it, so that both sides agree by construction.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// A program's working directory, with a slash at the end.
pub const WORKSPACE: &str = "/workspace/";

/// The body of `POST /v1/execute`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecuteRequest {
    /// The Python program, UTF-8.
    pub source_code: String,
    /// Files the program finds: absolute path below `/workspace` → file id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Environment variables added to the program's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Wall-clock limit of this execution in seconds. The embedded interpreter reads it, others ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Most characters of stdout and stderr together in the answer. Longer output is shortened, and stored as a file. The embedded
    /// interpreter reads it, others ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_characters: Option<usize>,
}

/// The answer to `POST /v1/execute`. Its JSON keys are in alphabetical order, so that a truncated preview still shows the exit code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecuteResponse {
    /// Python's own: 0, 1 after an exception, or the argument of `sys.exit`; 128 + n after signal n; 124 after a timeout.
    pub exit_code: i32,
    /// Files that the program created or changed: absolute path below `/workspace` → file id. The embedded interpreter's are
    /// in the order in which they were last changed.
    #[serde(default)]
    pub files: IndexMap<String, String>,
    pub stderr: String,
    pub stdout: String,
}

/// How an execution ended. The exit code alone does not tell, because a program can choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The program ended by itself, with any exit code.
    Finished,
    /// It was stopped at its time limit.
    TimedOut,
    /// It was stopped at another limit, which `stderr` names.
    Limited,
    /// It was stopped because its caller asked for that, or because the interpreter stops.
    Stopped,
}

/// A header of the embedded interpreter's answer with the [`Outcome`]. It is not in the JSON, whose text a program can write.
pub const OUTCOME_HEADER: &str = "x-execution-outcome";

/// A header of a request to the embedded interpreter: the execution's name in the caller's log. The interpreter's log uses it as well.
pub const EXECUTION_ID_HEADER: &str = "x-execution-id";

/// `DELETE` of this path and the execution's name ends it. Its own request is then answered with what the program printed until then.
pub const EXECUTIONS_PATH: &str = "/v1/executions/";

/// `GET` of this path says which modules were learned, `DELETE` forgets them.
pub const PRELOAD_PATH: &str = "/v1/preload";

/// A header of a request to the embedded interpreter: the one of the caller's clients that it is for. Files of the client that takes most
/// room make way first.
pub const CLIENT_HEADER: &str = "x-client";

/// A header of a request to the embedded interpreter. With any value but `yes`, the modules that the program imports do not count for the preload.
/// The daemon sets it for clients that may not be its user.
pub const LEARN_HEADER: &str = "x-learn";

/// Whether `text` is valid in the headers of names: `^[0-9a-zA-Z-]{1,64}$`.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl Outcome {
    /// None for a text that is no outcome.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let all = [Outcome::Finished, Outcome::TimedOut, Outcome::Limited, Outcome::Stopped];
        all.into_iter().find(|outcome| outcome.as_str().as_bytes() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Finished => "finished",
            Outcome::TimedOut => "timed-out",
            Outcome::Limited => "limited",
            Outcome::Stopped => "stopped",
        }
    }
}

/// One line of the embedded interpreter's answer to `Accept: application/x-ndjson`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Event {
    /// Output since the last event.
    Stdout {
        stdout: String,
    },
    Stderr {
        stderr: String,
    },
    /// The last event: the same as the answer without events, with the output.
    Result {
        result: ExecuteResponse,
        outcome: Outcome,
    },
    /// The last event instead of a result: the program could not be run to its end.
    Error {
        detail: String,
    },
}

/// The media type of such an answer.
pub const EVENTS: &str = "application/x-ndjson";

/// Whether `id` has the form of a file id: `^[0-9a-zA-Z_-]{1,255}$`.
pub fn is_file_id(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `/workspace/a/b` → `a/b`; `None` for anything else, `..` and empty parts included.
pub fn below_workspace(path: &str) -> Option<PathBuf> {
    let relative = path.strip_prefix(WORKSPACE)?;
    let plain = !relative.is_empty()
        && !relative.contains('\0')
        && relative.split('/').all(|part| !part.is_empty() && part.len() <= 255)
        && Path::new(relative).components().all(|component| matches!(component, Component::Normal(_)));
    plain.then(|| PathBuf::from(relative))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::below_workspace;

    #[test]
    fn only_paths_below_the_workspace_are_taken() {
        assert_eq!(below_workspace("/workspace/a/b.csv").as_deref(), Some(Path::new("a/b.csv")));
        let wrong =
            ["/workspace", "/workspace/", "/workspace//a", "/workspace/../a", "/workspace/a/..", "/workspace/./a"];
        for path in wrong.into_iter().chain(["a", "/etc/passwd", "/workspaces/a", "/workspace/a\0b", "/workspace/a/"]) {
            assert_eq!(below_workspace(path), None, "{path:?}");
        }
    }
}
