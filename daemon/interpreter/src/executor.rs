//! Executes requests: one slot each, within the limits, with what the program printed and left as the answer.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, timeout};

use crate::control_group::ControlGroups;
use crate::execution::{self, Executed, TEARDOWN_DEADLINE};
use crate::files::FileStore;
use crate::limits::Limits;
use crate::mounts::Mount;
use crate::pool::{Counts, Pool};
use crate::precedence;
use crate::prepare::{Prepared, prepare, time_limit};
use crate::probe::ProbeError;
use crate::python::PythonError;
use crate::sandbox::Network;
use crate::slot::SlotError;
use crate::total::TotalMemory;
use crate::whole::STORE_DEADLINE;
use crate::wire::{Event, ExecuteRequest};
use crate::workshop::{Workshop, WorkshopError};

/// Executions that may wait for their turn; more are refused.
const QUEUE: usize = 256;

/// What the executor is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which Python; found by name if none.
    pub python: Option<PathBuf>,
    /// Modules that programs find imported.
    pub preload: Vec<String>,
    pub limits: Limits,
    /// Folders of the host that programs may read.
    pub mounts: Vec<Mount>,
    pub network: Network,
    /// Where files are kept; private to its owner.
    pub state_directory: PathBuf,
    /// The command that runs [`crate::spawner::run`].
    pub spawner: Vec<OsString>,
    /// Executions at the same time.
    pub concurrency: usize,
    /// After this many executions another Python takes over.
    pub most_slots: u64,
}

pub struct Executor {
    settings: Settings,
    pub files: Arc<FileStore>,
    pool: Arc<Pool>,
    turns: Semaphore,
    total: Arc<TotalMemory>,
    waiting: AtomicUsize,
}

/// The longest that an answer can take: a program waits for its turn as long as it may run, and is then built up and torn down.
pub fn longest_answer(limit: Duration) -> Duration {
    2 * (limit + crate::slot::DEADLINE) + TEARDOWN_DEADLINE + crate::collect::DEADLINE + 2 * STORE_DEADLINE
}

/// Why a request was not executed, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The request is wrong: it names the field.
    #[error("{0}")]
    Invalid(String),
    #[error(
        "the interpreter is busy, and {QUEUE} programs are waiting already: nothing was run, try again in a moment"
    )]
    QueueFull,
    #[error("the interpreter was busy for the whole of the program's time: nothing was run, try again later")]
    Busy,
    #[error(
        "other programs held the machine's memory for the whole of the program's time (PYTHON_INTERPRETER_MCP_TOTAL_MEMORY): nothing was run, try again later"
    )]
    NoMemory,
    #[error(transparent)]
    Python(#[from] PythonError),
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error("cannot read stored file {id}: {source}")]
    Store { id: String, source: std::io::Error },
    #[error("the program's slot did not end within {TEARDOWN_DEADLINE:?} of its time limit")]
    Stuck,
    #[error("{path} cannot be put into the workspace: {source}")]
    Workspace { path: String, source: std::io::Error },
}

impl Executor {
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        let files = Arc::new(FileStore::open(settings.state_directory.join("files"))?);
        precedence::of_interpreter();
        let groups = Arc::new(ControlGroups::of_this_process());
        let total = TotalMemory::new(settings.limits.total_memory);
        Ok(Self::with(settings, files, Some(groups), total))
    }

    /// One for a process that only looks: its control group stays as it is.
    pub fn without_groups(settings: Settings) -> std::io::Result<Self> {
        let files = Arc::new(FileStore::open(settings.state_directory.join("files"))?);
        let total = TotalMemory::new(settings.limits.total_memory);
        Ok(Self::with(settings, files, None, total))
    }

    /// Another one in the same place with other settings. This one goes on until nobody has it any more.
    pub fn renewed(&self, settings: Settings) -> Self {
        // What still runs counts.
        self.total.change(settings.limits.total_memory);
        Self::with(settings, self.files.clone(), self.pool.groups(), self.total.clone())
    }

    fn with(
        settings: Settings,
        files: Arc<FileStore>,
        groups: Option<Arc<ControlGroups>>,
        total: Arc<TotalMemory>,
    ) -> Self {
        let turns = Semaphore::new(settings.concurrency);
        let pool = Arc::new(Pool::new(settings.clone(), groups));
        Executor { settings, files, pool, turns, total, waiting: AtomicUsize::new(0) }
    }

    pub fn state_directory(&self) -> &Path {
        &self.settings.state_directory
    }

    /// Executes one request, and tells `events` what the program prints as it comes. The log calls it `execution_id`. Dropping the
    /// future ends the program with everything it started.
    pub async fn execute(
        &self,
        request: ExecuteRequest,
        execution_id: Option<&str>,
        events: Option<&Sender<Event>>,
    ) -> Result<Executed, ExecuteError> {
        let limit = time_limit(&request, &self.settings.limits)?;
        let prepared = prepare(request)?;
        // Looked at before the wait, so that a wrong id is told at once, and opened after it: descriptors are few.
        self.open_files(&prepared).await?;
        let asked = Instant::now();
        let _turn = self.turn(limit).await?;
        let memory = self.settings.limits.memory;
        let share =
            self.total.admit(memory, limit.saturating_sub(asked.elapsed())).await.ok_or(ExecuteError::NoMemory)?;
        let files = self.open_files(&prepared).await?;
        let mut taken = self.pool.take().await?;
        let started = Instant::now();
        let executed = execution::run(&prepared, files, (&mut taken, &share), &self.files, limit, events).await;
        if let Err(ExecuteError::Slot(error @ (SlotError::Died | SlotError::NotGone))) = &executed {
            tracing::debug!(%error, "another workshop is opened");
            self.pool.discard(&taken.slot.workshop);
        }
        let executed = executed?;
        // Nothing runs in the slot any more. What is left to do, as to let go of it and to build another, is done after the answer.
        tokio::spawn(async move { drop(taken) });
        tracing::info!(
            execution_id,
            exit_code = executed.response.exit_code,
            outcome = executed.outcome.as_str(),
            duration_milliseconds = started.elapsed().as_millis() as u64,
            files = executed.response.files.len(),
            "executed"
        );
        Ok(executed)
    }

    /// What executions would run in now.
    pub async fn workshop(&self) -> Result<Arc<Workshop>, ExecuteError> {
        self.pool.workshop().await
    }

    /// Where programs find the folders that they may read.
    pub fn mounts(&self) -> Vec<PathBuf> {
        self.settings.mounts.iter().map(|mount| mount.target.clone()).collect()
    }

    pub fn concurrency(&self) -> usize {
        self.settings.concurrency
    }

    /// Calls that wait for memory.
    pub fn waiting_for_memory(&self) -> usize {
        self.total.waiting()
    }

    /// How many slots there are now.
    pub fn slots(&self) -> Counts {
        self.pool.counts()
    }

    /// Called about once a second: keeps what is ahead of need as it should be.
    pub fn maintain(&self) {
        self.pool.maintain();
    }

    /// Waits for one of the places to run in.
    async fn turn(&self, deadline: Duration) -> Result<tokio::sync::SemaphorePermit<'_>, ExecuteError> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let _place = Place::take(&self.waiting).ok_or(ExecuteError::QueueFull)?;
        match timeout(deadline, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(ExecuteError::Busy),
        }
    }

    /// The content of the request's files, in their order.
    async fn open_files(&self, prepared: &Prepared) -> Result<Vec<File>, ExecuteError> {
        if prepared.files.is_empty() {
            return Ok(Vec::new());
        }
        let (store, files) = (self.files.clone(), prepared.files.clone());
        // Opening takes the disk's time.
        let opened = tokio::task::spawn_blocking(move || files.iter().map(|file| open(&store, file)).collect());
        opened.await.map_err(|error| SlotError::Io(error.into()))?
    }
}

fn open(store: &FileStore, (path, id): &(PathBuf, String)) -> Result<File, ExecuteError> {
    match store.get(id) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(ExecuteError::Invalid(format!(
            "files: there is no file with the id {id:?} (for \"/workspace/{}\")",
            path.display()
        ))),
        Err(source) => Err(ExecuteError::Store { id: id.to_owned(), source }),
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Place(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < QUEUE).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
