//! A task in memory, with its result if that is not on disk.

use std::collections::HashMap;

use rmcp::model::{JsonObject, Task, TaskPayload, TaskStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::record::Record;

pub struct TaskEntry {
    pub record: Record,
    pub result: Kept,
    /// Whether this daemon runs it, or has run it.
    pub is_ours: bool,
    pub last_line: Option<watch::Receiver<String>>,
    pub cancel: CancellationToken,
    /// Notified of each change.
    pub changes: watch::Sender<()>,
}

/// Where the result of a completed task is.
pub enum Kept {
    OnDisk,
    /// In memory, with its size in bytes.
    InMemory(JsonObject, usize),
}

impl TaskEntry {
    pub fn new(record: Record, is_ours: bool, last_line: Option<watch::Receiver<String>>) -> Self {
        let (cancel, changes) = (CancellationToken::new(), watch::channel(()).0);
        Self { record, result: Kept::OnDisk, is_ours, last_line, cancel, changes }
    }

    pub fn has_ended(&self) -> bool {
        self.record.task.status.is_terminal()
    }

    /// The task. While it runs, its message is the last line of output.
    pub fn described(&self) -> Task {
        let mut task = self.record.task.clone();
        if let Some(last_line) = self.last_line.as_ref().filter(|_| !self.has_ended()) {
            let line = last_line.borrow();
            task.status_message = (!line.is_empty()).then(|| line.clone());
        }
        task
    }

    /// The payload of its status; none for a result that is on disk.
    pub fn payload(&self) -> Option<TaskPayload> {
        match (self.record.task.status, &self.result) {
            (TaskStatus::Completed, Kept::OnDisk) => None,
            (TaskStatus::Completed, Kept::InMemory(result, _)) => {
                Some(TaskPayload::Completed { result: result.clone() })
            }
            (TaskStatus::Failed, _) => {
                Some(TaskPayload::Failed { error: self.record.error.clone().unwrap_or_default() })
            }
            (TaskStatus::Cancelled, _) => Some(TaskPayload::Cancelled),
            _ => Some(TaskPayload::Working),
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match &self.result {
            Kept::OnDisk => 0,
            Kept::InMemory(_, bytes) => *bytes,
        }
    }
}

pub fn oldest_ended(entries: &HashMap<String, TaskEntry>) -> Option<String> {
    let ended = entries.iter().filter(|(_, entry)| entry.has_ended());
    ended.min_by_key(|(_, entry)| &entry.record.task.created_at).map(|(id, _)| id.clone())
}

/// Drops the oldest results in memory until the rest has at most `most` bytes.
pub fn forget_beyond(entries: &mut HashMap<String, TaskEntry>, most: usize) {
    while entries.values().map(TaskEntry::memory_bytes).sum::<usize>() > most {
        let in_memory = entries.iter().filter(|(_, entry)| entry.memory_bytes() > 0);
        let oldest = in_memory.min_by_key(|(_, entry)| &entry.record.task.created_at).map(|(id, _)| id.clone());
        let Some(oldest) = oldest else { return };
        entries.remove(&oldest);
    }
}
