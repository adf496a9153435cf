//! One execution in a slot that waits for it: its files are put there, the program runs within its limits, and what it leaves
//! is collected after everything in the slot has ended.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

use crate::answer::answer;
use crate::collect::{Collected, Known, collect, is_unchanged};
use crate::control_group::ControlGroup;
use crate::executor::ExecuteError;
use crate::files::FileStore;
use crate::memory::{self, Exceeded};
use crate::output::{Progress, Sink, Stream, read_stream};
use crate::pool::{PATIENCE, PAUSE, Taken};
use crate::prepare::Prepared;
use crate::slot::{Ended, Exit, Output, Slot, SlotError, put};
use crate::total::Share;
use crate::whole::STORE_DEADLINE;
use crate::wire::{Event, ExecuteResponse, Outcome, WORKSPACE};

/// What may pass beyond a program's own time until its slot is gone and its output read.
pub const TEARDOWN_DEADLINE: Duration = Duration::from_secs(30);

/// How often it is looked at what a control group holds, and whether it still bounds memory.
const GROUP_INTERVAL: Duration = Duration::from_millis(250);

/// What came of a request.
#[derive(Debug)]
pub struct Executed {
    pub response: ExecuteResponse,
    pub outcome: Outcome,
}

/// Why a program runs no more.
pub enum End {
    Itself(Ended),
    /// At its time limit.
    Time(Duration),
    /// At its memory limit, as seen from outside.
    Memory(Exceeded),
    /// Its surroundings were taken away.
    Lost(SlotError),
}

/// Runs `prepared` in `taken`, with the content of its files in their order.
pub async fn run(
    prepared: &Prepared,
    files: Vec<File>,
    (taken, share): (&mut Taken, &Share),
    store: &Arc<FileStore>,
    limit: Duration,
    events: Option<&Sender<Event>>,
) -> Result<Executed, ExecuteError> {
    let slot = &taken.slot;
    let limits = &slot.workshop.policy.limits;
    let known = put_files(prepared, files, slot).await?;
    slot.start(&prepared.job(&slot.workshop.launch))?;
    let Some(output) = taken.output.take() else { return Err(ExecuteError::Stuck) };
    let streams = [(), ()].map(|()| Stream::new(limits.output, limits.output_file, store.clone()));
    let running = until_end((slot, share), output, streams, limit, events);
    let (end, crowded, [stdout, stderr]) =
        timeout(limit + TEARDOWN_DEADLINE, running).await.map_err(|_| ExecuteError::Stuck)??;
    let collected = collect_files(slot, known, store).await?;
    let ended = (end, crowded);
    answer(ended, [stdout.end(), stderr.end()], prepared.output_characters, collected, slot, store).await
}

async fn until_end(
    (slot, share): (&Slot, &Share),
    output: Output,
    [mut stdout, mut stderr]: [Stream; 2],
    limit: Duration,
    events: Option<&Sender<Event>>,
) -> Result<(End, bool, [Stream; 2]), SlotError> {
    let progress = Progress::default();
    let program = async {
        let end = tokio::select! {
            ended = timeout(limit, slot.ended()) => match ended {
                Ok(Ok(ended)) => End::Itself(ended),
                Ok(Err(error)) => End::Lost(error),
                Err(_) => End::Time(limit),
            },
            how = memory_exceeded(slot, share) => End::Memory(how),
        };
        let crowded = is_crowded(slot, &end).await;
        // Background processes may hold the output open: it ends for certain only when they are gone.
        let gone = slot.kill().await;
        progress.over.cancel();
        gone.map(|()| (end, crowded))
    };
    let sink = |event| events.map(|events| Sink { events, event });
    let sinks = [sink(|stdout| Event::Stdout { stdout }), sink(|stderr| Event::Stderr { stderr })];
    let reading = async {
        tokio::join!(
            read_stream(output.stdout, &mut stdout, sinks[0], &progress),
            read_stream(output.stderr, &mut stderr, sinks[1], &progress)
        )
    };
    let lateness = async {
        progress.over.cancelled().await;
        sleep(STORE_DEADLINE).await;
        progress.late.cancel();
        std::future::pending().await
    };
    let streams = async {
        tokio::select! {
            read = reading => read,
            never = lateness => never,
        }
    };
    let (end, ((), ())) = tokio::join!(program, streams);
    let (end, crowded) = end?;
    Ok((end, crowded, [stdout, stderr]))
}

/// Whether a program that failed met its limit of processes: the kernel has counted a refusal, or those that it has left are as many as
/// there may be, itself and what it asked for aside.
async fn is_crowded(slot: &Slot, end: &End) -> bool {
    let End::Itself(Ended { exit, .. }) = end else { return false };
    if *exit == Exit::Code(0) {
        return false;
    }
    if let Some(group) = &slot.group {
        return group.ran_out_of_processes();
    }
    let first = slot.processes[0];
    let counted = tokio::task::spawn_blocking(move || memory::count_tasks(first)).await;
    matches!(counted, Ok(Ok(tasks)) if tasks + 2 >= slot.workshop.policy.limits.processes)
}

/// Where the kernel bounds the memory of the slot, there is nothing to watch, as long as it does.
async fn memory_exceeded(slot: &Slot, share: &Share) -> Exceeded {
    while let Some(held) = slot.group.as_ref().and_then(ControlGroup::memory) {
        // The kernel bounds all together as well.
        share.holds(held, true);
        tokio::time::sleep(GROUP_INTERVAL).await;
    }
    memory::exceeds(slot, share, slot.workshop.policy.limits.memory).await
}

/// Puts the program and its files into the workspace.
async fn put_files(prepared: &Prepared, files: Vec<File>, slot: &Slot) -> Result<Known, ExecuteError> {
    let mut known = Known::new();
    let failed = |path: &Path, source| ExecuteError::Workspace { path: path.display().to_string(), source };
    if !files.is_empty() {
        let workspace = slot.workspace.clone();
        let (identity, paths) = (slot.workshop.policy.identity.clone(), prepared.files.clone());
        let work = move || {
            let _as_program = identity.act();
            let put_one = |((path, id), file): (&(_, String), File)| {
                let path: &std::path::PathBuf = path;
                let put = || put(&workspace, path, &file);
                let stamp = tokio::runtime::Handle::current().block_on(when_there_is_room(put));
                let stamp = stamp.map_err(|source| failed(path, source))?;
                Ok((format!("{WORKSPACE}{}", path.display()), (stamp, Some(id.clone()))))
            };
            paths.iter().zip(files).map(put_one).collect::<Result<Known, ExecuteError>>()
        };
        known = tokio::task::spawn_blocking(work).await.map_err(|error| SlotError::Io(error.into()))??;
    }
    let script = Path::new(&prepared.script);
    let put_script = || {
        let _as_program = slot.workshop.policy.identity.act();
        put(&slot.workspace, script, prepared.source_code.as_bytes())
    };
    let stamp = when_there_is_room(put_script).await.map_err(|source| failed(script, source))?;
    known.insert(format!("{WORKSPACE}{}", prepared.script), (stamp, None));
    Ok(known)
}

/// Tries again what this process has no descriptors for: others give back theirs when they end.
async fn when_there_is_room<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
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

async fn collect_files(slot: &Slot, known: Known, store: &Arc<FileStore>) -> Result<Collected, ExecuteError> {
    if is_unchanged(&slot.workspace, &known) {
        return Ok(Collected::default());
    }
    let workspace = slot.workspace.clone();
    let (store, limits) = (store.clone(), slot.workshop.policy.limits.clone());
    let work = tokio::task::spawn_blocking(move || collect(&workspace, &known, &store, &limits));
    work.await.map_err(|error| SlotError::Io(error.into()).into())
}
