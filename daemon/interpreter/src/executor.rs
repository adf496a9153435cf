//! Executes requests: one slot each, within the limits, with what the program printed and left as the answer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

use crate::channel::Exit;
use crate::collect::{Collected, collect};
use crate::files::FileStore;
use crate::job::Job;
use crate::limits::Limits;
use crate::output::{Kept, drain};
use crate::prepare::{Prepared, WORKSPACE, prepare, time_limit};
use crate::python::PythonError;
use crate::slot::{Slot, SlotError};
use crate::wire::{ExecuteRequest, ExecuteResponse};
use crate::workshop::{Workshop, WorkshopError};

/// Executions that may wait for their turn; more are refused.
const QUEUE: usize = 256;
/// What may pass beyond a program's own time until its slot is gone and its output read.
const TEARDOWN_DEADLINE: Duration = Duration::from_secs(30);

/// What the executor is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which Python; found by name if none.
    pub python: Option<PathBuf>,
    pub limits: Limits,
    /// Where files are kept; private to its owner.
    pub state_directory: PathBuf,
    /// The command that runs [`crate::spawner::run`].
    pub spawner: Vec<OsString>,
    /// Executions at the same time.
    pub concurrency: usize,
}

pub struct Executor {
    settings: Settings,
    pub files: Arc<FileStore>,
    workshop: Mutex<Option<Arc<Workshop>>>,
    turns: Semaphore,
    waiting: AtomicUsize,
}

/// What came of a request.
#[derive(Debug)]
pub struct Executed {
    pub response: ExecuteResponse,
    /// The program was stopped at its time limit.
    pub timed_out: bool,
}

/// The longest that an answer can take: a program waits for its turn as long as it may run, and is then built up and torn down.
pub fn longest_answer(limit: Duration) -> Duration {
    2 * (limit + crate::slot::DEADLINE) + TEARDOWN_DEADLINE + crate::collect::DEADLINE
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
    #[error(transparent)]
    Python(#[from] PythonError),
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error("cannot read stored file {id}: {source}")]
    Store { id: String, source: std::io::Error },
    #[error("the program's slot did not end within {TEARDOWN_DEADLINE:?} of its time limit")]
    Stuck,
}

impl Executor {
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        let files = Arc::new(FileStore::open(settings.state_directory.join("files"))?);
        let turns = Semaphore::new(settings.concurrency);
        Ok(Executor { settings, files, workshop: Mutex::new(None), turns, waiting: AtomicUsize::new(0) })
    }

    /// Executes one request. Dropping the future ends the program with everything it started.
    pub async fn execute(&self, request: ExecuteRequest) -> Result<Executed, ExecuteError> {
        let limit = time_limit(&request, &self.settings.limits)?;
        let Prepared { job, known } = prepare(request)?;
        // Looked at before the wait, so that a wrong id is told at once, and opened after it: descriptors are few.
        self.open_files(&job, &known)?;
        let _turn = self.turn(limit).await?;
        let files = self.open_files(&job, &known)?;
        let (workshop, slot, output) = self.slot().await?;
        slot.start(&job, &files)?;
        drop((job, files));

        let started = Instant::now();
        let (mut stdout, mut stderr) = (Kept::new(self.settings.limits.output), Kept::new(self.settings.limits.output));
        let run = async {
            let ended = timeout(limit, slot.ended()).await;
            // Background processes may hold the output open: it ends for certain only when they are gone.
            slot.kill().await.map(|()| ended)
        };
        let everything =
            async { tokio::join!(run, drain(output.stdout, &mut stdout), drain(output.stderr, &mut stderr)).0 };
        let ended = timeout(limit + TEARDOWN_DEADLINE, everything).await.map_err(|_| ExecuteError::Stuck)??;
        let elapsed = started.elapsed();
        if matches!(ended, Ok(Err(_))) {
            self.discard(&workshop).await;
        }

        let collected = self.collect(&slot, known).await?;
        let mut stderr = stderr.into_text();
        let timed_out = ended.is_err();
        let exit_code = match ended {
            Ok(Ok(Exit::Code(code))) => code,
            Ok(Ok(Exit::Signal(signal))) => 128 + signal,
            // What it had printed is worth having all the same.
            Ok(Err(SlotError::Died)) => {
                append_line(&mut stderr, &format!("Killed: {}", SlotError::Died));
                128 + 9
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                let line = format!(
                    "Timeout: the program was stopped after {} s, its time limit (timeout_seconds, at most {} s by \
                     PYTHON_INTERPRETER_MCP_TIMEOUT)",
                    limit.as_secs_f64(),
                    self.settings.limits.timeout.as_secs_f64()
                );
                append_line(&mut stderr, &line);
                124
            }
        };
        for line in &collected.omitted {
            append_line(&mut stderr, &format!("File not returned: {line}"));
        }
        tracing::info!(exit_code, milliseconds = elapsed.as_millis() as u64, files = collected.files.len(), "executed");
        let response = ExecuteResponse { exit_code, files: collected.files, stderr, stdout: stdout.into_text() };
        Ok(Executed { response, timed_out })
    }

    /// Whether executions are possible now, found by executing nothing. The version of Python, or what is missing.
    pub async fn check(&self) -> Result<String, ExecuteError> {
        self.execute(ExecuteRequest::default()).await?;
        Ok(self.workshop().await?.python_version.clone())
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

    /// A slot that is isolated and waits for its job, with the workshop that it came from.
    async fn slot(&self) -> Result<(Arc<Workshop>, Slot, crate::slot::Output), ExecuteError> {
        let mut workshop = self.workshop().await?;
        let mut built = Slot::build(&workshop.spawner).await;
        if let Err(SlotError::SpawnerGone(error)) = &built {
            tracing::warn!(%error, "the spawner is gone; starting another");
            self.discard(&workshop).await;
            workshop = self.workshop().await?;
            built = Slot::build(&workshop.spawner).await;
        }
        match built {
            Ok((slot, output)) => Ok((workshop, slot, output)),
            Err(error) => {
                self.discard(&workshop).await;
                Err(error.into())
            }
        }
    }

    async fn workshop(&self) -> Result<Arc<Workshop>, ExecuteError> {
        let mut current = self.workshop.lock().await;
        if let Some(workshop) = current.as_ref() {
            return Ok(workshop.clone());
        }
        let workshop = Arc::new(Workshop::open(&self.settings).await?);
        *current = Some(workshop.clone());
        Ok(workshop)
    }

    /// Forgets `workshop`, with which something went wrong, if it is still the current one: the next execution looks for
    /// Python again, which may have been upgraded. Executions under way keep it until they end.
    async fn discard(&self, workshop: &Arc<Workshop>) {
        let mut current = self.workshop.lock().await;
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, workshop)) {
            *current = None;
        }
    }

    /// The content of the job's files, in their order.
    fn open_files(&self, job: &Job, known: &BTreeMap<String, String>) -> Result<Vec<OwnedFd>, ExecuteError> {
        let open = |path: &PathBuf| {
            let path = format!("{WORKSPACE}{}", path.display());
            let id = known.get(&path).map(String::as_str).unwrap_or_default();
            match self.files.get(id) {
                Ok(Some(file)) => Ok(file.into()),
                Ok(None) => {
                    Err(ExecuteError::Invalid(format!("files: there is no file with the id {id:?} (for {path:?})")))
                }
                Err(source) => Err(ExecuteError::Store { id: id.to_owned(), source }),
            }
        };
        job.files.iter().map(open).collect()
    }

    async fn collect(&self, slot: &Slot, known: BTreeMap<String, String>) -> Result<Collected, ExecuteError> {
        let workspace = slot.workspace.try_clone().map_err(SlotError::from)?;
        let (store, limits) = (self.files.clone(), self.settings.limits.clone());
        let work = tokio::task::spawn_blocking(move || collect(&workspace, &known, &store, &limits));
        work.await.map_err(|error| SlotError::Io(error.into()).into())
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

fn append_line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}
