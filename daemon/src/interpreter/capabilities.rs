//! What an interpreter of ours says about itself at `GET /healthz`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything has a default, because an interpreter of another version may say less.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Python's version, such as 3.12.1.
    pub python: String,
    /// Modules that are imported already.
    pub preloaded: Vec<String>,
    /// Modules that are imported as well, because programs imported them again and again.
    pub learned: Vec<String>,
    /// Module that programs import often → why it is not imported.
    pub left_out: BTreeMap<String, String>,
    /// Installed libraries, name → version.
    pub libraries: BTreeMap<String, String>,
    /// Directories that programs may read.
    pub mounts: Vec<String>,
    /// "none" or "host".
    pub network: String,
    pub limits: ReportedLimits,
    /// How memory is limited: "control group" or "watched".
    pub memory_limit: String,
    /// Where the control groups come from, or why there are none.
    pub memory_limit_because: String,
    pub slots: Slots,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportedLimits {
    pub timeout_seconds: f64,
    pub memory_bytes: u64,
    pub workspace_bytes: u64,
}

/// The number of slots in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slots {
    pub waiting: u64,
    pub building: u64,
    pub in_use: u64,
}
