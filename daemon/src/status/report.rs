//! The answer to `GET /status`.

use serde::{Deserialize, Serialize};

use crate::interpreter::Capabilities;

/// The answer to `GET /status`. Everything has a default, because a daemon of another version may say less.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub version: String,
    pub process: u32,
    /// "systemd", "a client" or "hand".
    pub started_by: String,
    /// In seconds since 1970, like all times here.
    pub since: u64,
    pub interpreter: InterpreterReport,
    pub running: i64,
    pub waiting: usize,
    pub tasks: usize,
    pub executions: u64,
    pub clients: Vec<ClientReport>,
    /// Latest first.
    pub recent: Vec<EndedExecution>,
    pub latency: Option<Latency>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InterpreterReport {
    /// A URL, or "embedded".
    pub name: String,
    /// Why calls go there.
    pub why: String,
    /// The state of the embedded interpreter, if it runs.
    pub embedded: Option<Capabilities>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientReport {
    pub name: String,
    pub version: String,
    pub since: u64,
    pub calls: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EndedExecution {
    pub execution_id: String,
    pub client: String,
    pub at: u64,
    /// "finished", "timed_out", "stopped", "failed", "refused" or "cancelled".
    pub outcome: String,
    pub exit_code: i32,
    pub milliseconds: u64,
}

/// Latency of the latest executions.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    pub executions: usize,
    pub p50_milliseconds: f64,
    pub p99_milliseconds: f64,
}
