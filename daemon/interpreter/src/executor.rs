//! Executes requests, each in a slot of its own. Bounds how many run at the same time and how many wait.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::caller::Caller;
use crate::control_group::ControlGroups;
use crate::counting;
use crate::errors::ExecuteError;
use crate::execution::{self, COLLECT_DEADLINE, ExecutionError, TEARDOWN_DEADLINE};
use crate::files::FileStore;
use crate::learning::{Learning, Report};
use crate::outcome::Executed;
use crate::pool::{Counts, Pool};
use crate::precedence;
use crate::prepare::{InvalidRequest, Prepared, prepare, time_limit};
use crate::run::Until;
use crate::running::Running;
use crate::settings::Settings;
use crate::slot::SlotError;
use crate::total::{Share, TotalMemory};
use crate::whole::STORE_DEADLINE;
use crate::wire::{Event, ExecuteRequest};
use crate::workshop::{Workshop, WorkshopError};

/// Most executions that wait for their turn; more are refused.
const QUEUE: usize = 256;

pub struct Executor {
    settings: Settings,
    pub files: Arc<FileStore>,
    pub running: Arc<Running>,
    learning: Arc<Learning>,
    pool: Arc<Pool>,
    turns: Semaphore,
    total: Arc<TotalMemory>,
    waiting: AtomicUsize,
}

/// The longest time until an answer. A program may wait for its turn as long as it may run; then follow its slot's building, the run, the
/// teardown and the collection of its files.
pub fn longest_answer(limit: Duration) -> Duration {
    2 * (limit + crate::slot::DEADLINE) + TEARDOWN_DEADLINE + COLLECT_DEADLINE + 2 * STORE_DEADLINE
}

impl Executor {
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        let files = Arc::new(FileStore::open(settings.state_directory.join("files"))?);
        precedence::of_interpreter();
        let groups = Arc::new(ControlGroups::of_this_process());
        let total = TotalMemory::new(settings.limits.total_memory());
        let learning = Learning::open(&settings.state_directory);
        Ok(Self::with(settings, files, Some(groups), total, learning))
    }

    /// An executor that leaves the control group of this process as it is.
    pub fn without_groups(settings: Settings) -> std::io::Result<Self> {
        let files = Arc::new(FileStore::open(settings.state_directory.join("files"))?);
        let total = TotalMemory::new(settings.limits.total_memory());
        let learning = Learning::open(&settings.state_directory);
        Ok(Self::with(settings, files, None, total, learning))
    }

    /// A new executor with other settings, which shares this one's files, control groups and total memory.
    pub fn renewed(&self, settings: Settings) -> Self {
        // Programs that still run count towards the new limit.
        self.total.change(settings.limits.total_memory());
        let running = self.running.clone();
        let (files, total, learning) = (self.files.clone(), self.total.clone(), self.learning.clone());
        Self { running, ..Self::with(settings, files, self.pool.groups(), total, learning) }
    }

    fn with(
        settings: Settings,
        files: Arc<FileStore>,
        groups: Option<Arc<ControlGroups>>,
        total: Arc<TotalMemory>,
        learning: Arc<Learning>,
    ) -> Self {
        let turns = Semaphore::new(settings.concurrency);
        let learns = settings.learns.then(|| learning.clone());
        let pool = Arc::new(Pool::new(settings.clone(), groups, learns));
        Executor {
            settings,
            files,
            running: Arc::default(),
            learning,
            pool,
            turns,
            total,
            waiting: AtomicUsize::new(0),
        }
    }

    pub fn state_directory(&self) -> &Path {
        &self.settings.state_directory
    }

    /// Executes one request, and sends the program's output to `events` as it comes. Dropping the future kills the program and everything
    /// that it started.
    pub async fn execute(
        &self,
        request: ExecuteRequest,
        caller: &Caller,
        events: Option<&Sender<Event>>,
    ) -> Result<Executed, ExecuteError> {
        let limit = time_limit(&request, &self.settings.limits)?;
        let prepared = prepare(request)?;
        // Opened before the wait so that a wrong id fails at once, and again after it, because waiting calls must not hold descriptors.
        self.open_files(&prepared).await?;
        let entry = self.running.enter(caller.execution_id.as_deref());
        let (_turn, share) =
            entry.end.run_until_cancelled(self.admission(limit)).await.ok_or(ExecuteError::Stopped)??;
        let files = self.open_files(&prepared).await?;
        let (mut taken, child) = self.pool.take().await?;
        // Waiting for a slot can take long.
        if entry.end.is_cancelled() {
            return Err(ExecuteError::Stopped);
        }
        let started = Instant::now();
        let store = self.files.of(caller.client.as_deref());
        let until = Until { limit, asked: &entry.end };
        let executed = execution::execute(&prepared, files, (&taken.slot, child), &share, &store, until, events).await;
        if let Err(ExecutionError::Slot(error @ (SlotError::Died | SlotError::NotGone))) = &executed {
            tracing::debug!(%error, "discarding the workshop");
            self.pool.discard(&taken.slot.spawner);
        }
        let executed = executed?;
        let pool = self.pool.clone();
        let learning = (self.settings.learns && caller.learns).then(|| self.learning.clone());
        taken.begin_removal();
        // The answer does not wait until the slot is removed and another is built. Its share of the total memory stays taken until then.
        tokio::spawn(async move {
            if let Err(error) = taken.slot.kill().await {
                tracing::debug!(%error, "discarding the workshop");
                pool.discard(&taken.slot.spawner);
            }
            drop((taken, share));
            if let Some(learning) = learning {
                learning.observe(&prepared.source_code, prepared.files.iter().map(|(path, _)| path.as_path()));
            }
        });
        tracing::info!(
            execution_id = caller.execution_id,
            exit_code = executed.response.exit_code,
            outcome = executed.outcome.as_str(),
            duration_milliseconds = started.elapsed().as_millis() as u64,
            files = executed.response.files.len(),
            "executed"
        );
        Ok(executed)
    }

    /// The workshop from which slots come now.
    pub async fn workshop(&self) -> Result<Arc<Workshop>, WorkshopError> {
        self.pool.workshop().await
    }

    /// The paths at which programs find the user's mounts.
    pub fn mounts(&self) -> Vec<PathBuf> {
        self.settings.mounts.iter().map(|mount| mount.target.clone()).collect()
    }

    pub fn concurrency(&self) -> usize {
        self.settings.concurrency
    }

    /// How many calls wait for memory.
    pub fn waiting_for_memory(&self) -> usize {
        self.total.waiting()
    }

    pub fn slots(&self) -> Counts {
        self.pool.counts()
    }

    /// To be called about once a second: maintains the pool, and counts what programs have imported.
    pub fn maintain(&self) {
        self.pool.maintain();
        if self.settings.learns && self.learning.has_news() && self.pool.is_idle() {
            tokio::spawn(counting::count(self.pool.clone(), self.learning.clone()));
        }
    }

    /// What was learned about modules.
    pub fn learned(&self) -> Report {
        let preloaded = self.pool.current().map(|workshop| workshop.learned.clone()).unwrap_or_default();
        Report { learns: self.settings.learns, preloaded, ..self.learning.report() }
    }

    /// Forgets what was learned about modules. The next workshop has none of them.
    pub async fn forget_learned(&self) -> std::io::Result<()> {
        self.learning.clone().clear().await
    }

    /// Waits for a turn and for memory, together no longer than `limit`.
    async fn admission(&self, limit: Duration) -> Result<(SemaphorePermit<'_>, Share), ExecuteError> {
        let asked = Instant::now();
        let turn = self.turn(limit).await?;
        let admitted = self.total.admit(self.settings.limits.memory.0, limit.saturating_sub(asked.elapsed()));
        Ok((turn, admitted.await.ok_or(ExecuteError::NoMemory)?))
    }

    /// Waits until fewer than `concurrency` executions run.
    async fn turn(&self, deadline: Duration) -> Result<SemaphorePermit<'_>, ExecuteError> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let _place = QueuePlace::take(&self.waiting).ok_or(ExecuteError::QueueFull { waiting: QUEUE })?;
        match timeout(deadline, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(ExecuteError::Busy),
        }
    }

    /// Opens the request's files, in the order of [`Prepared::files`].
    async fn open_files(&self, prepared: &Prepared) -> Result<Vec<File>, ExecuteError> {
        if prepared.files.is_empty() {
            return Ok(Vec::new());
        }
        let (store, files) = (self.files.clone(), prepared.files.clone());
        // The disk may be slow.
        let opened = tokio::task::spawn_blocking(move || files.iter().map(|file| open(&store, file)).collect());
        opened.await?
    }
}

fn open(store: &FileStore, (path, id): &(PathBuf, String)) -> Result<File, ExecuteError> {
    match store.get(id) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => {
            let path = path.display();
            let text = format!("files: there is no file with the id {id:?} (for \"/workspace/{path}\")");
            Err(InvalidRequest(text).into())
        }
        Err(source) => Err(ExecuteError::Store { id: id.to_owned(), source }),
    }
}

/// A place in the queue, free again when this is dropped.
struct QueuePlace<'a>(&'a AtomicUsize);

impl<'a> QueuePlace<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = QueuePlace(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < QUEUE).then_some(place)
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
