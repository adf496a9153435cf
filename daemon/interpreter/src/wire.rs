//! The wire of the interpreter API: `POST /v1/execute`, the same JSON as the BeeAI Code Interpreter's.
//!
//! Used by the service in this crate and by whoever calls one, so that both sides agree by construction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
}

/// The answer to `POST /v1/execute`. Its JSON keys are in alphabetical order: a preview that is cut off still tells how
/// the program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecuteResponse {
    /// As Python's own: 0, 1 after an exception, the argument of `sys.exit`; 128 + n after signal n; 124 after a timeout.
    pub exit_code: i32,
    /// Files the program made or changed: absolute path below `/workspace` → file id.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    pub stderr: String,
    pub stdout: String,
}

/// A header of the embedded interpreter's answer, with [`TIMED_OUT`] where it ended the program at its time limit. Not a part of
/// the JSON, whose text a program can write.
pub const OUTCOME_HEADER: &str = "x-execution-outcome";
pub const TIMED_OUT: &str = "timed-out";

/// Whether `id` has the form of a file id: `^[0-9a-zA-Z_-]{1,255}$`.
pub fn is_file_id(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}
