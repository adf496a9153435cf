//! The configuration file: its path, and its keys and values with their lines.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use python_interpreter_mcp::endpoint;
use toml_edit::{Document, Item, Value};

const VARIABLE: &str = "PYTHON_INTERPRETER_MCP_CONFIG";
const NAME: &str = "config.toml";
/// A larger file is no configuration.
const MAX_BYTES: u64 = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration {} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}:{line}: {reason}", path.display())]
    Wrong { path: PathBuf, line: usize, reason: String },
}

pub struct File {
    pub path: PathBuf,
    pub entries: Vec<FileEntry>,
}

pub struct FileEntry {
    pub key: String,
    pub value: Value,
    /// Counted from 1.
    pub line: usize,
}

/// `$PYTHON_INTERPRETER_MCP_CONFIG`, else `config.toml` in the configuration directory; none without a home.
pub fn path() -> Option<PathBuf> {
    match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => Some(path.into()),
        None => Some(endpoint::config_directory()?.join(NAME)),
    }
}

/// The file, if there is one. A file that the variable names must exist.
pub fn read() -> Result<Option<File>, ConfigError> {
    let Some(path) = path() else { return Ok(None) };
    let is_named = std::env::var_os(VARIABLE).is_some_and(|path| !path.is_empty());
    match std::fs::metadata(&path) {
        Err(error) if !is_named && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        _ => read_at(&path).map(Some),
    }
}

/// The file at `path`, which must exist.
pub fn read_at(path: &Path) -> Result<File, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
    match std::fs::metadata(path) {
        Err(error) => return Err(unreadable(error.to_string())),
        Ok(found) if !found.is_file() => return Err(unreadable("it is no file".to_owned())),
        Ok(found) if found.len() > MAX_BYTES => return Err(unreadable("it is larger than 1 MiB".to_owned())),
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    File::parse(path.to_owned(), &text)
}

impl File {
    pub fn parse(path: PathBuf, text: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(text).map_err(|error| {
            let reason = format!("this is not TOML: {}", error.message().replace('\n', ", "));
            wrong(&path, line(text, error.span()), reason)
        })?;
        let mut entries = Vec::new();
        for (key, item) in document.iter() {
            let line = line(text, document.key(key).and_then(toml_edit::Key::span));
            let value = match item {
                Item::Value(value) => value.clone(),
                // [[mounts]]: another way to write a list of tables.
                Item::ArrayOfTables(tables) => Value::Array(tables.clone().into_array()),
                Item::Table(_) | Item::None => {
                    let reason = format!("[{key}] is no setting: settings stand at the top, as key = value");
                    return Err(wrong(&path, line, reason));
                }
            };
            entries.push(FileEntry { key: key.to_owned(), value, line });
        }
        Ok(Self { path, entries })
    }

    pub fn entry(&self, key: &str) -> Option<&FileEntry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub fn wrong(&self, entry: &FileEntry, reason: String) -> ConfigError {
        wrong(&self.path, entry.line, reason)
    }
}

fn wrong(path: &Path, line: usize, reason: String) -> ConfigError {
    ConfigError::Wrong { path: path.to_owned(), line, reason }
}

fn line(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span.map_or(0, |span| span.start).min(text.len());
    text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1
}
