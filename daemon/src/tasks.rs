//! Executions that go on after their call was answered with a handle (the extension `io.modelcontextprotocol/tasks`): what is known of
//! each, until its time is up. What they do is `server`'s.

mod record;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, DetailedTask, JsonObject, Task, TaskPayload, TaskStatus};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::server::Running;
use record::Records;

/// Tasks that are known at the same time, ended ones included: the oldest of those is forgotten for another one. Where all run, a call
/// is waited for as without tasks.
const MAX_TASKS: usize = 256;
/// The largest result that is kept, in bytes of its JSON.
const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;
/// How long a task is known from its beginning on.
const TIME_TO_LIVE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often clients are asked to ask.
const POLL_MILLISECONDS: u64 = 1000;

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// After how long a program becomes a task, for clients that know tasks
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PYTHON_INTERPRETER_MCP_TASK_AFTER",
        default_value = "20",
        value_parser = clap::value_parser!(u64).range(..=86_400)
    )]
    pub task_after: u64,
}

pub struct Tasks {
    entries: Mutex<HashMap<String, Entry>>,
    records: Records,
    /// Told whenever one has ended.
    ended: Notify,
}

struct Entry {
    known: DetailedTask,
    last_line: Option<watch::Receiver<String>>,
    cancel: CancellationToken,
    /// Told of each change.
    changes: watch::Sender<()>,
}

impl Tasks {
    /// Takes up what an earlier daemon has left in `directory`: what ran when it ended is failed.
    pub fn open(directory: Option<PathBuf>) -> Arc<Self> {
        let records = Records::open(directory);
        let mut entries = HashMap::new();
        for mut known in records.read() {
            if is_over(&known.task) {
                records.remove(&known.task.task_id);
                continue;
            }
            if !known.task.status.is_terminal() {
                let message =
                    "The daemon ended while the program ran: it was stopped, and what it had printed is lost.";
                fail(&mut known, &ErrorData::internal_error(message, None));
                records.write(&known);
            }
            entries.insert(known.task.task_id.clone(), Entry::new(known, None));
        }
        Arc::new(Self { entries: Mutex::new(entries), records, ended: Notify::new() })
    }

    /// Makes a task of an execution, known before this returns. Gives the execution back if there are too many.
    pub fn adopt(self: &Arc<Self>, running: Running, last_line: watch::Receiver<String>) -> Result<Task, Running> {
        self.forget_old();
        // 122 random bits: whoever has not been told an id does not find it.
        let id = uuid::Uuid::new_v4().simple().to_string();
        let now = now();
        let task = Task::new(id.clone(), TaskStatus::Working, now.clone(), now)
            .with_ttl_ms(TIME_TO_LIVE.as_millis() as u64)
            .with_poll_interval_ms(POLL_MILLISECONDS);
        let entry = Entry::new(DetailedTask::new(task, TaskPayload::Working), Some(last_line));
        let (known, cancel) = (entry.known.clone(), entry.cancel.clone());
        {
            let mut entries = self.entries();
            if entries.len() >= MAX_TASKS {
                let ended = entries.iter().filter(|(_, entry)| entry.known.task.status.is_terminal());
                let oldest = ended.min_by_key(|(_, entry)| &entry.known.task.created_at).map(|(id, _)| id.clone());
                let Some(oldest) = oldest else { return Err(running) };
                entries.remove(&oldest);
                self.records.remove(&oldest);
            }
            entries.insert(id.clone(), entry);
        }
        self.records.write(&known);
        let this = self.clone();
        tokio::spawn(async move {
            let ended = cancel.run_until_cancelled(running).await;
            // Off the event loop, because the result may be large.
            let end = move || {
                let payload = match ended {
                    Some(Some(result)) => completed(&result),
                    Some(None) => failed(&ErrorData::internal_error(
                        "The execution failed inside the daemon; its log says more.",
                        None,
                    )),
                    None => TaskPayload::Cancelled,
                };
                this.end(&id, payload);
            };
            if let Err(error) = tokio::task::spawn_blocking(end).await {
                tracing::error!(%error, "the end of a task cannot be kept");
            }
        });
        Ok(known.task)
    }

    pub fn get(&self, id: &str) -> Option<DetailedTask> {
        self.forget_old();
        let entries = self.entries();
        let entry = entries.get(id)?;
        let mut known = entry.known.clone();
        if let Some(last_line) = entry.last_line.as_ref().filter(|_| !known.task.status.is_terminal()) {
            let line = last_line.borrow();
            known.task.status_message = (!line.is_empty()).then(|| line.clone());
        }
        Some(known)
    }

    /// False if there is no such task. One that has ended stays as it is.
    pub fn cancel(&self, id: &str) -> bool {
        let entries = self.entries();
        let entry = entries.get(id);
        entry.iter().for_each(|entry| entry.cancel.cancel());
        entry.is_some()
    }

    /// Told of each change of the task.
    pub fn changes(&self, id: &str) -> Option<watch::Receiver<()>> {
        self.entries().get(id).map(|entry| entry.changes.subscribe())
    }

    /// How many still run.
    pub fn running(&self) -> usize {
        self.entries().values().filter(|entry| !entry.known.task.status.is_terminal()).count()
    }

    /// Returns once none runs any more.
    pub async fn until_none_runs(&self) {
        loop {
            // Asked for before the look, so that no end is missed between the two.
            let ended = self.ended.notified();
            if self.running() == 0 {
                return;
            }
            ended.await;
        }
    }

    fn end(&self, id: &str, payload: TaskPayload) {
        let Some(DetailedTask { mut task, .. }) = self.get(id) else { return };
        task.last_updated_at = now();
        if let TaskPayload::Failed { error } = &payload {
            task.status_message = error.get("message").and_then(Value::as_str).map(str::to_owned);
        }
        let known = DetailedTask::new(task, payload);
        // Before anybody learns of it: a daemon that waited for the end leaves then.
        self.records.write(&known);
        match self.entries().get_mut(id) {
            Some(entry) => {
                (entry.known, entry.last_line) = (known, None);
                entry.changes.send_replace(());
            }
            None => self.records.remove(id),
        }
        self.ended.notify_waiters();
    }

    fn forget_old(&self) {
        self.entries().retain(|id, entry| {
            let keep = !is_over(&entry.known.task);
            if !keep {
                entry.cancel.cancel();
                self.records.remove(id);
            }
            keep
        });
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(known: DetailedTask, last_line: Option<watch::Receiver<String>>) -> Self {
        Self { known, last_line, cancel: CancellationToken::new(), changes: watch::channel(()).0 }
    }
}

fn completed(result: &CallToolResult) -> TaskPayload {
    let fits = serde_json::to_vec(result).is_ok_and(|text| text.len() <= MAX_RESULT_BYTES);
    match object(result).filter(|_| fits) {
        Some(result) => TaskPayload::Completed { result },
        None => {
            failed(&ErrorData::internal_error("The program has ended, and its result is too large to be kept.", None))
        }
    }
}

fn failed(error: &ErrorData) -> TaskPayload {
    TaskPayload::Failed { error: object(error).unwrap_or_default() }
}

fn object(value: &impl serde::Serialize) -> Option<JsonObject> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn fail(known: &mut DetailedTask, error: &ErrorData) {
    let mut task = known.task.clone();
    task.last_updated_at = now();
    task.status_message = Some(error.message.to_string());
    *known = DetailedTask::new(task, failed(error));
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Its time is up. What does not say when it began has had its time.
fn is_over(task: &Task) -> bool {
    let Ok(created) = chrono::DateTime::parse_from_rfc3339(&task.created_at) else { return true };
    let age = Utc::now().signed_duration_since(created).num_milliseconds();
    task.ttl_ms.is_some_and(|time_to_live| age > time_to_live as i64)
}

#[cfg(test)]
mod tests {
    use rmcp::model::ContentBlock;

    use super::*;

    fn running(result: impl Future<Output = CallToolResult> + Send + 'static) -> Running {
        Box::pin(async { Some(result.await) })
    }

    fn said(text: &str) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::text(text)])
    }

    async fn ended(tasks: &Tasks, id: &str) -> DetailedTask {
        let mut changes = tasks.changes(id).unwrap();
        while !tasks.get(id).unwrap().task.status.is_terminal() {
            changes.changed().await.unwrap();
        }
        tasks.get(id).unwrap()
    }

    #[tokio::test]
    async fn a_task_says_what_is_printed_and_ends_with_its_result_which_outlives_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let tasks = Tasks::open(Some(directory.path().join("tasks")));
        let (line, last_line) = watch::channel("10 %".to_owned());
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let task = tasks
            .adopt(running(async move { wait.await.map_or_else(|_| said("gone"), |()| said("42")) }), last_line)
            .ok()
            .unwrap();
        line.send_replace("20 %".to_owned());
        assert_eq!(tasks.get(&task.task_id).unwrap().task.status_message.as_deref(), Some("20 %"));
        assert_eq!(tasks.running(), 1);
        go.send(()).unwrap();
        let end = ended(&tasks, &task.task_id).await;
        assert!(matches!(&end.payload, TaskPayload::Completed { result } if result["content"][0]["text"] == "42"));
        let next = Tasks::open(Some(directory.path().join("tasks")));
        assert_eq!(next.get(&task.task_id), Some(end));
    }

    #[tokio::test]
    async fn what_ran_when_the_daemon_ended_is_failed_and_what_is_old_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let tasks = Tasks::open(Some(directory.path().join("tasks")));
        let line = watch::channel(String::new()).1;
        let task = tasks.adopt(running(std::future::pending()), line.clone()).ok().unwrap();
        let old = tasks.adopt(running(std::future::pending()), line).ok().unwrap();
        let mut record = tasks.get(&old.task_id).unwrap();
        record.task.created_at = "2020-01-01T00:00:00Z".to_owned();
        tasks.records.write(&record);
        let next = Tasks::open(Some(directory.path().join("tasks")));
        let found = next.get(&task.task_id).unwrap();
        assert!(matches!(&found.payload, TaskPayload::Failed { error } if error["code"] == -32603), "{found:?}");
        assert!(found.task.status_message.unwrap().contains("daemon ended"));
        assert_eq!(next.get(&old.task_id), None);
    }

    #[tokio::test]
    async fn a_cancelled_task_drops_its_run_and_a_finished_one_stays() {
        let tasks = Tasks::open(None);
        let line = watch::channel(String::new()).1;
        let (dropped, told) = tokio::sync::oneshot::channel::<()>();
        let run = running(async move {
            let _dropped_with_this = dropped;
            std::future::pending().await
        });
        let task = tasks.adopt(run, line.clone()).ok().unwrap();
        assert!(tasks.cancel(&task.task_id) && !tasks.cancel("other"));
        assert_eq!(ended(&tasks, &task.task_id).await.payload, TaskPayload::Cancelled);
        told.await.unwrap_err();
        let done = tasks.adopt(running(async { said("1") }), line).ok().unwrap();
        ended(&tasks, &done.task_id).await;
        assert!(tasks.cancel(&done.task_id));
        assert_eq!(tasks.get(&done.task_id).unwrap().task.status, TaskStatus::Completed);
    }

    #[tokio::test]
    async fn there_are_so_many_and_no_more() {
        let tasks = Tasks::open(None);
        let line = watch::channel(String::new()).1;
        for _ in 0..MAX_TASKS {
            assert!(tasks.adopt(running(std::future::pending()), line.clone()).is_ok());
        }
        assert!(tasks.adopt(running(std::future::pending()), line).is_err());
    }
}
