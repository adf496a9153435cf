//! Tasks (the extension `io.modelcontextprotocol/tasks`): executions that go on after their call was answered with a handle. Results are
//! kept on disk.

mod entry;
mod owner;
mod record;

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, DetailedTask, JsonObject, Task, TaskPayload, TaskStatus};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use entry::{Kept, TaskEntry, forget_beyond, oldest_ended};
use owner::Owner;
use record::{Record, Records};

/// The most tasks that are known, including ended ones. The oldest ended task is forgotten for a new one. If all of them run, a further
/// call does not become a task.
const MAX_TASKS: usize = 256;
/// The largest result that is kept, in bytes of JSON.
const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of JSON that results have in memory if they cannot be kept on disk.
const MAX_MEMORY_BYTES: usize = 32 * 1024 * 1024;
/// How long a task is known, from its start.
const TIME_TO_LIVE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often clients should poll.
const POLL_MILLISECONDS: u64 = 1000;
/// The error of a task whose daemon is gone.
const OWNER_GONE: &str = "The daemon ended while the program ran: it was stopped, and what it had printed is lost.";
/// How often a task that another daemon runs is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// How long a call runs before it becomes a task, for clients that support tasks
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PYTHON_INTERPRETER_MCP_TASK_AFTER",
        default_value = "20",
        value_parser = clap::value_parser!(u64).range(..=86_400)
    )]
    pub task_after: u64,
}

/// A running call; none if it panicked. Dropping it ends the program.
pub type Running = Pin<Box<dyn Future<Output = Option<CallToolResult>> + Send>>;

pub struct Tasks {
    entries: Mutex<HashMap<String, TaskEntry>>,
    records: Records,
    /// Held while a record is read and written, so that the start of a task never replaces its end.
    writing: Mutex<()>,
    /// This process.
    owner: Option<Owner>,
    /// Notified whenever a task has ended.
    ended: Notify,
}

/// Why a task is not cancelled.
#[derive(Debug, PartialEq, Eq)]
pub enum NotCancelled {
    Unknown,
    /// An older daemon runs it, and is about to stop.
    Elsewhere,
}

impl Tasks {
    /// Loads the tasks in `directory`. Those that another daemon still runs are watched until they end; those that nobody runs any more have
    /// failed. Must be called inside the event loop.
    pub fn open(directory: Option<PathBuf>) -> Arc<Self> {
        let records = Records::open(directory);
        let mut entries = HashMap::new();
        let mut elsewhere = Vec::new();
        for mut record in records.read_all() {
            let id = record.task.task_id.clone();
            if is_over(&record.task) {
                records.remove(&id);
                continue;
            }
            if !record.task.status.is_terminal() {
                if record.is_run() {
                    elsewhere.push(id.clone());
                } else {
                    record.fail(OWNER_GONE);
                    records.write(&record);
                }
            }
            entries.insert(id, TaskEntry::new(record, false, None));
        }
        let (entries, writing) = (Mutex::new(entries), Mutex::new(()));
        let this = Arc::new(Self { entries, records, writing, owner: Owner::this(), ended: Notify::new() });
        for id in elsewhere {
            tokio::spawn(this.clone().look_elsewhere(id));
        }
        this
    }

    /// Makes a task of a running call, which is on disk before this returns. Returns the call if there are too many tasks.
    pub async fn adopt(
        self: &Arc<Self>,
        running: Running,
        last_line: watch::Receiver<String>,
    ) -> Result<Task, Running> {
        self.forget_old();
        // 122 random bits, so that nobody can guess an id.
        let id = uuid::Uuid::new_v4().simple().to_string();
        let now = now();
        let task = Task::new(id.clone(), TaskStatus::Working, now.clone(), now)
            .with_ttl_ms(TIME_TO_LIVE.as_millis() as u64)
            .with_poll_interval_ms(POLL_MILLISECONDS);
        let record = Record { task: task.clone(), error: None, owner: self.owner.clone() };
        let entry = TaskEntry::new(record.clone(), true, Some(last_line));
        let cancel = entry.cancel.clone();
        {
            let mut entries = self.entries();
            if entries.len() >= MAX_TASKS {
                let Some(oldest) = oldest_ended(&entries) else { return Err(running) };
                entries.remove(&oldest);
                self.remove_record(oldest);
            }
            entries.insert(id.clone(), entry);
        }
        // Off the event loop: it touches the disk, and results may be large.
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || this.write_beginning(&record));
        let this = self.clone();
        // Started before waiting for the record: the client may give up meanwhile, and the task still has to end.
        tokio::spawn(async move {
            let ended = cancel.run_until_cancelled(running).await;
            let end = move || {
                let payload = match ended {
                    Some(Some(result)) => completed(&result),
                    Some(None) => failed("The execution failed inside the daemon; its log says more."),
                    None => TaskPayload::Cancelled,
                };
                this.end(&id, payload);
            };
            if let Err(error) = tokio::task::spawn_blocking(end).await {
                tracing::error!(%error, "cannot store the end of a task");
            }
        });
        let _ = written.await;
        Ok(task)
    }

    /// The task as it is now, with its result if it has one.
    pub async fn get(&self, id: &str) -> Option<DetailedTask> {
        self.forget_old();
        let (mut task, payload) = {
            let entries = self.entries();
            let entry = entries.get(id)?;
            (entry.described(), entry.payload())
        };
        let payload = match payload {
            Some(payload) => payload,
            None => {
                let (records, name) = (self.records.clone(), id.to_owned());
                match tokio::task::spawn_blocking(move || records.result(&name)).await.ok().flatten() {
                    Some(result) => TaskPayload::Completed { result },
                    None => {
                        let message = "The program has ended, and its result cannot be read from disk any more.";
                        task.status_message = Some(message.to_owned());
                        failed(message)
                    }
                }
            }
        };
        Some(DetailedTask::new(task, payload))
    }

    /// Whether the task is known.
    pub fn knows(&self, id: &str) -> bool {
        self.forget_old();
        self.entries().contains_key(id)
    }

    /// Cancels it, unless it has ended.
    pub fn cancel(&self, id: &str) -> Result<(), NotCancelled> {
        let entries = self.entries();
        let entry = entries.get(id).ok_or(NotCancelled::Unknown)?;
        if !entry.is_ours && !entry.has_ended() {
            return Err(NotCancelled::Elsewhere);
        }
        entry.cancel.cancel();
        Ok(())
    }

    /// Notices each change of the task.
    pub fn changes(&self, id: &str) -> Option<watch::Receiver<()>> {
        self.entries().get(id).map(|entry| entry.changes.subscribe())
    }

    /// How many tasks this daemon runs.
    pub fn running(&self) -> usize {
        self.entries().values().filter(|entry| entry.is_ours && !entry.has_ended()).count()
    }

    /// Completes when this daemon runs no task.
    pub async fn until_none_runs(&self) {
        loop {
            // Subscribed before counting, so that no end is missed in between.
            let ended = self.ended.notified();
            if self.running() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Fails the tasks of this daemon, because it ends.
    pub async fn give_up(self: Arc<Self>) {
        let given_up = move || {
            let ours: Vec<String> = {
                let entries = self.entries();
                let ours = entries.iter().filter(|(_, entry)| entry.is_ours && !entry.has_ended());
                ours.map(|(id, _)| id.clone()).collect()
            };
            for id in ours {
                self.end(&id, failed("The daemon was stopped while the program ran: what it had printed is lost."));
            }
        };
        let _ = tokio::task::spawn_blocking(given_up).await;
    }

    fn write_beginning(&self, record: &Record) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.entries().get(&record.task.task_id).is_some_and(|entry| !entry.has_ended()) {
            self.records.write(record);
        }
    }

    fn end(&self, id: &str, payload: TaskPayload) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut record) =
            self.entries().get(id).filter(|entry| !entry.has_ended()).map(|entry| entry.record.clone())
        else {
            return;
        };
        record.task.last_updated_at = now();
        record.task.status = payload.status();
        let mut kept = Kept::OnDisk;
        match payload {
            TaskPayload::Completed { result } if !self.records.write_result(id, &result) => {
                let bytes = serde_json::to_vec(&result).map_or(0, |text| text.len());
                kept = Kept::InMemory(result, bytes);
            }
            TaskPayload::Failed { error } => {
                record.task.status_message = error.get("message").and_then(Value::as_str).map(str::to_owned);
                record.error = Some(error);
            }
            _ => {}
        }
        // Stored before anybody is notified, because a daemon that waited for this end then exits.
        self.records.write(&record);
        let mut entries = self.entries();
        match entries.get_mut(id) {
            Some(entry) => {
                (entry.record, entry.result, entry.last_line) = (record, kept, None);
                entry.changes.send_replace(());
                forget_beyond(&mut entries, MAX_MEMORY_BYTES);
            }
            None => self.records.remove(id),
        }
        drop(entries);
        self.ended.notify_waiters();
    }

    /// Watches a task of another daemon until it has ended.
    async fn look_elsewhere(self: Arc<Self>, id: String) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (records, name) = (self.records.clone(), id.clone());
            let looked = tokio::task::spawn_blocking(move || {
                // Asked before the record is read: a daemon that ends in between has written it.
                let is_run = records.read(&name)?.is_run();
                let mut record = records.read(&name)?;
                if !record.task.status.is_terminal() && !is_run {
                    record.fail(OWNER_GONE);
                    records.write(&record);
                }
                Some(record)
            });
            let Ok(Some(record)) = looked.await else { return };
            let has_ended = record.task.status.is_terminal();
            {
                let mut entries = self.entries();
                let Some(entry) = entries.get_mut(&id) else { return };
                entry.record = record;
                if has_ended {
                    entry.changes.send_replace(());
                }
            }
            if has_ended {
                return;
            }
        }
    }

    fn forget_old(&self) {
        self.entries().retain(|id, entry| {
            let keep = !is_over(&entry.record.task);
            if !keep {
                entry.cancel.cancel();
                self.remove_record(id.clone());
            }
            keep
        });
    }

    fn remove_record(&self, id: String) {
        let records = self.records.clone();
        tokio::task::spawn_blocking(move || records.remove(&id));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, TaskEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Whether its daemon still lives.
    fn is_run(&self) -> bool {
        self.owner.as_ref().is_some_and(Owner::lives)
    }

    fn fail(&mut self, message: &'static str) {
        self.task.status = TaskStatus::Failed;
        self.task.status_message = Some(message.to_owned());
        self.task.last_updated_at = now();
        self.error = object(&ErrorData::internal_error(message, None));
    }
}

fn completed(result: &CallToolResult) -> TaskPayload {
    let fits = serde_json::to_vec(result).is_ok_and(|text| text.len() <= MAX_RESULT_BYTES);
    match object(result).filter(|_| fits) {
        Some(result) => TaskPayload::Completed { result },
        None => failed("The program has ended, and its result is too large to be kept."),
    }
}

fn failed(message: &'static str) -> TaskPayload {
    TaskPayload::Failed { error: object(&ErrorData::internal_error(message, None)).unwrap_or_default() }
}

fn object(value: &impl serde::Serialize) -> Option<JsonObject> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Whether its time is up. A record without a start counts as expired.
fn is_over(task: &Task) -> bool {
    let Ok(created) = chrono::DateTime::parse_from_rfc3339(&task.created_at) else { return true };
    let age = Utc::now().signed_duration_since(created).num_milliseconds();
    task.ttl_ms.is_some_and(|time_to_live| age > time_to_live as i64)
}

#[cfg(test)]
mod tests;
