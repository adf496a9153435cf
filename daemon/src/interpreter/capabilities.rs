//! What the embedded interpreter says of itself at `GET /healthz`, as far as a model wants to know it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything has a default: an interpreter of another version may say less.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Its version, as 3.12.1.
    pub python: String,
    /// Modules that are imported already.
    pub preloaded: Vec<String>,
    /// Installed libraries, name → version.
    pub libraries: BTreeMap<String, String>,
    /// Folders that programs may read.
    pub mounts: Vec<String>,
    /// "none" or "host".
    pub network: String,
    pub limits: Limits,
    /// How memory is limited: "control group" or "watched".
    pub memory_limit: String,
    /// Whose the control groups are, or why there are none.
    pub memory_limit_because: String,
    pub slots: Slots,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub timeout_seconds: f64,
    pub memory_bytes: u64,
    pub workspace_bytes: u64,
}

/// How many slots there are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slots {
    pub waiting: u64,
    pub building: u64,
    pub in_use: u64,
}
