//! Tasks on disk: a small record for each, and its result in a second file, which is read on demand. Both are readable by their owner
//! only, and written under a temporary name. Without a directory nothing is kept.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rmcp::model::{JsonObject, Task};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::owner::Owner;

const RECORD: &str = "json";
const RESULT: &str = "result";
/// A larger file is no record.
const MAX_RECORD_BYTES: u64 = 64 * 1024;
/// How long writing a file may take.
const BEING_WRITTEN: Duration = Duration::from_secs(60);
const MAX_RESULT_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// A task without its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub task: Task,
    /// The error of a failed task.
    pub error: Option<JsonObject>,
    /// The process that runs it, or has run it.
    pub owner: Option<Owner>,
}

#[derive(Clone)]
pub struct Records {
    directory: Option<PathBuf>,
}

impl Records {
    pub fn open(directory: Option<PathBuf>) -> Self {
        let directory = directory.and_then(|directory| {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            match made {
                Ok(()) => Some(directory),
                Err(error) => {
                    tracing::warn!(%error, "tasks cannot be kept: their results end with this daemon");
                    None
                }
            }
        });
        Self { directory }
    }

    /// All records that can be read. Other files that are not quite new are removed: a daemon that was killed while writing has left them.
    pub fn read_all(&self) -> Vec<Record> {
        let entries = self.directory.as_ref().and_then(|directory| fs::read_dir(directory).ok());
        let paths: Vec<PathBuf> = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
        let (mut records, mut kept) = (Vec::new(), BTreeSet::new());
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == RECORD)) {
            if let Some(record) = read(path, MAX_RECORD_BYTES) {
                records.push(record);
                kept.extend([path.clone(), path.with_extension(RESULT)]);
            }
        }
        for path in paths.iter().filter(|path| !kept.contains(*path) && is_old(path)) {
            let _ = fs::remove_file(path);
        }
        records
    }

    pub fn read(&self, id: &str) -> Option<Record> {
        read(&self.path(id, RECORD)?, MAX_RECORD_BYTES)
    }

    /// The result of a completed task.
    pub fn result(&self, id: &str) -> Option<JsonObject> {
        read(&self.path(id, RESULT)?, MAX_RESULT_FILE_BYTES)
    }

    /// Stores a record. After a failure the task is only lost at a restart.
    pub fn write(&self, record: &Record) {
        if let Err(error) = self.write_file(&record.task.task_id, RECORD, record) {
            tracing::warn!(%error, "task cannot be kept");
        }
    }

    /// Stores the result; whether that succeeded.
    pub fn write_result(&self, id: &str, result: &JsonObject) -> bool {
        let written = self.write_file(id, RESULT, result);
        written.inspect_err(|error| tracing::warn!(%error, "the result of a task cannot be kept")).unwrap_or(false)
    }

    pub fn remove(&self, id: &str) {
        for extension in [RECORD, RESULT] {
            if let Some(path) = self.path(id, extension) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn write_file(&self, id: &str, extension: &str, value: &impl Serialize) -> io::Result<bool> {
        let (Some(directory), Some(path)) = (&self.directory, self.path(id, extension)) else { return Ok(false) };
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.persist(path)?;
        Ok(true)
    }

    fn path(&self, id: &str, extension: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(id).with_extension(extension))
    }
}

/// Whether a file is old enough to be removed: another daemon may be writing a younger one.
fn is_old(path: &Path) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|found| found.modified()).ok();
    changed.is_some_and(|changed| changed.elapsed().is_ok_and(|age| age > BEING_WRITTEN))
}

fn read<T: DeserializeOwned>(path: &Path, most: u64) -> Option<T> {
    if fs::symlink_metadata(path).ok()?.len() > most {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
