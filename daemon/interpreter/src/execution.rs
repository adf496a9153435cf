//! One execution: puts the request's files into a slot, runs the program there, and collects the files that it leaves.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

use crate::answer::answer;
use crate::collect::{self, Collected, Known, collect, is_unchanged};
use crate::files::FileStore;
use crate::outcome::Executed;
use crate::output::Stream;
use crate::pool::{PATIENCE, PAUSE};
use crate::prepare::Prepared;
use crate::run::{Run, Until};
use crate::slot::{Slot, SlotError, WaitingChild, put};
use crate::total::Share;
use crate::whole::STORE_DEADLINE;
use crate::wire::{Event, WORKSPACE};

/// How long it may take beyond a program's time limit until its slot is gone and its output is read.
pub const TEARDOWN_DEADLINE: Duration = Duration::from_secs(30);
/// How long the files may take together with the one that is being stored when their own time is over.
pub const COLLECT_DEADLINE: Duration = collect::DEADLINE.saturating_add(STORE_DEADLINE);

#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    #[error("{path} cannot be put into the workspace: {source}")]
    Workspace { path: String, source: io::Error },
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error("the program's slot did not end within {TEARDOWN_DEADLINE:?} of its time limit")]
    Stuck,
}

/// Runs `prepared` in a slot, no longer than `until`. `files` are the open files of the request, in the order of [`Prepared::files`].
pub async fn execute(
    prepared: &Prepared,
    files: Vec<File>,
    (slot, child): (&Slot, WaitingChild),
    share: &Share,
    store: &Arc<FileStore>,
    until: Until<'_>,
    events: Option<&Sender<Event>>,
) -> Result<Executed, ExecutionError> {
    let limits = &slot.spawner.policy.limits;
    let known = put_files(prepared, files, slot).await?;
    let run = Run::start(slot, child, &prepared.job(&slot.spawner.launch))?;
    let streams = [(), ()].map(|()| Stream::new(limits.output.0 as usize, limits.output_file.0, store.clone()));
    let running = run.until_end(share, streams, until, events);
    let finished = timeout(until.limit + TEARDOWN_DEADLINE, running).await.map_err(|_| ExecutionError::Stuck)??;
    let collected = collect_files(slot, known, store, !finished.end.is_success()).await?;
    Ok(answer(finished, prepared.output_characters, collected, slot, store).await?)
}

/// Writes the program and its files into the workspace.
async fn put_files(prepared: &Prepared, files: Vec<File>, slot: &Slot) -> Result<Known, ExecutionError> {
    let mut known = Known::new();
    let failed = |path: &Path, source| ExecutionError::Workspace { path: path.display().to_string(), source };
    if !files.is_empty() {
        let workspace = slot.workspace.clone();
        let (identity, paths) = (slot.spawner.policy.identity.clone(), prepared.files.clone());
        let work = move || {
            let _as_program = identity.act();
            let put_one = |((path, id), file): (&(PathBuf, String), File)| {
                let put = || put(&workspace, path, &file);
                let stamp = tokio::runtime::Handle::current().block_on(with_descriptors(put));
                let stamp = stamp.map_err(|source| failed(path, source))?;
                Ok((format!("{WORKSPACE}{}", path.display()), (stamp, Some(id.clone()))))
            };
            paths.iter().zip(files).map(put_one).collect::<Result<Known, ExecutionError>>()
        };
        known = tokio::task::spawn_blocking(work).await.map_err(|error| SlotError::Io(error.into()))??;
    }
    let script = Path::new(&prepared.script);
    let put_script = || {
        let _as_program = slot.spawner.policy.identity.act();
        put(&slot.workspace, script, prepared.source_code.as_bytes())
    };
    let stamp = with_descriptors(put_script).await.map_err(|source| failed(script, source))?;
    known.insert(format!("{WORKSPACE}{}", prepared.script), (stamp, None));
    Ok(known)
}

/// Retries an `act` that failed because the limit of open files is reached. Other executions close files when they end.
async fn with_descriptors<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match act() {
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) && Instant::now() < deadline =>
            {
                sleep(PAUSE).await
            }
            result => return result,
        }
    }
}

async fn collect_files(
    slot: &Slot,
    known: Known,
    store: &Arc<FileStore>,
    failed: bool,
) -> Result<Collected, SlotError> {
    if is_unchanged(&slot.workspace, &known) {
        return Ok(Collected::default());
    }
    let workspace = slot.workspace.clone();
    let (store, limits) = (store.clone(), slot.spawner.policy.limits.clone());
    let work = tokio::task::spawn_blocking(move || collect(&workspace, &known, &store, &limits, failed));
    match timeout(COLLECT_DEADLINE, work).await {
        Ok(collected) => collected.map_err(|error| SlotError::Io(error.into())),
        Err(_) => {
            let omitted = format!("/workspace: the disk did not take its files within {COLLECT_DEADLINE:?}");
            Ok(Collected { omitted: vec![omitted], ..Collected::default() })
        }
    }
}
