//! What all three formats share.

use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("line {line}: {reason}")]
    Malformed { line: usize, reason: String },
    #[error("{0} is not a table of settings")]
    NotATable(String),
    #[error("it is written in a way that cannot be changed without touching more: {0}")]
    Unfit(&'static str),
}

/// The text's line end.
pub fn newline(text: &str) -> &'static str {
    let line = text.split_inclusive('\n').next().unwrap_or_default();
    if line.ends_with("\r\n") { "\r\n" } else { "\n" }
}

/// An entry on one line, valid as JSON and as YAML.
pub fn inline(entry: &[(&str, Value)]) -> String {
    let fields: Vec<String> = entry.iter().map(|(key, value)| format!("{key:?}: {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}
