//! The result of one check of `doctor`.

use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Finding {
    pub name: &'static str,
    #[serde(rename = "state")]
    pub level: Level,
    /// What was found, and how to fix it.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works, but could be better or may surprise.
    Note,
    Failed,
}

impl Finding {
    pub fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, text: text.into() }
    }

    pub fn note(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, level: Level::Note, text: text.into() }
    }

    pub fn failed(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, level: Level::Failed, text: text.into() }
    }
}
