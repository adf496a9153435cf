//! Learns which installed modules programs import again and again, so that the next workshop has them: the setting `preload = "auto"`.
//!
//! The names come from the text of programs. Only names of installed modules are kept, in one file.

mod record;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::channel::{Tried, Verdict};
use record::Record;
use scan::{imports, package_of};

/// The file's name in the state directory.
const FILE: &str = "preload.json";
/// Most modules that are learned for one workshop.
const MOST_CHOSEN: usize = 32;
/// After a failed write or look-up, the next one waits so long.
const PAUSE: Duration = Duration::from_secs(60);
/// Most names that wait to be looked up.
const MOST_PENDING: usize = 512;
/// Most names of which it is known whether they are installed.
const MOST_KNOWN: usize = 4096;

pub struct Learning {
    file: PathBuf,
    state: Mutex<State>,
    /// Held by [`counting`](crate::counting) while imported names are looked up.
    pub counting: tokio::sync::Mutex<()>,
    /// Held while the file is written or removed.
    writing: tokio::sync::Mutex<()>,
    warned: AtomicBool,
}

#[derive(Default)]
struct State {
    record: Record,
    /// Imported names that were not looked up yet → how many programs imported them.
    pending: BTreeMap<String, u32>,
    /// Name → whether it is an installed module.
    known: BTreeMap<String, bool>,
    /// How often everything was forgotten.
    cleared: u64,
    /// The file is out of date.
    changed: bool,
    /// After a failure nothing is counted or written before this.
    not_before: Option<Instant>,
}

/// The modules that a workshop is to import if it can.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    pub names: Vec<String>,
    cleared: u64,
}

/// What has been learned, for the user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Whether the settings let the interpreter learn.
    pub learns: bool,
    /// The learned modules that programs find imported now.
    pub preloaded: Vec<String>,
    /// Most used first.
    pub modules: Vec<Counted>,
    /// Module → why it is not preloaded.
    pub left_out: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    pub module: String,
    /// How many programs imported it. Each counts half as much after a week.
    pub programs: f64,
}

impl Learning {
    /// Reads what was learned before, below `state_directory`.
    pub fn open(state_directory: &Path) -> Arc<Self> {
        let file = state_directory.join(FILE);
        let record = Record::read(&file, now()).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "what was learned about modules cannot be read: it is learned anew");
            Record::default()
        });
        let state = Mutex::new(State { record, ..State::default() });
        Arc::new(Learning {
            file,
            state,
            counting: Default::default(),
            writing: Default::default(),
            warned: AtomicBool::new(false),
        })
    }

    /// Whether there is something to count or to write.
    pub fn has_news(&self) -> bool {
        let state = self.state();
        let waits = state.not_before.is_some_and(|then| Instant::now() < then);
        !waits && (state.changed || !state.pending.is_empty())
    }

    /// Notes what a program imports. `files` are the paths of its own files, which are no installed modules.
    pub fn observe<'a>(&self, source_code: &str, files: impl Iterator<Item = &'a Path>) {
        let own = |path: &Path| Some(path.iter().next()?.to_str()?.split('.').next()?.to_owned());
        let own: BTreeSet<String> = files.filter_map(own).collect();
        let mut state = self.state();
        for name in imports(source_code) {
            if !own.contains(package_of(&name))
                && (state.pending.len() < MOST_PENDING || state.pending.contains_key(&name))
            {
                *state.pending.entry(name).or_default() += 1;
            }
        }
    }

    /// Names that programs imported since the last count and that were not looked up yet. `None` if nothing was imported.
    pub fn unknown(&self) -> Option<Vec<String>> {
        let state = self.state();
        let unknown = state.pending.keys().filter(|name| !state.known.contains_key(*name)).cloned().collect();
        (!state.pending.is_empty()).then_some(unknown)
    }

    /// Counts what was imported since the last time. Of the names in `looked_up`, those in `found` are modules. Every program has those in
    /// `anyway`.
    pub fn count(&self, looked_up: &[String], found: &BTreeSet<String>, anyway: &BTreeSet<String>) {
        let mut state = self.state();
        if state.known.len() + looked_up.len() > MOST_KNOWN {
            state.known.clear();
        }
        state.known.extend(looked_up.iter().map(|name| (name.clone(), found.contains(name))));
        let now = now();
        for (name, programs) in std::mem::take(&mut state.pending) {
            match state.known.get(&name) {
                Some(true) if !anyway.contains(&name) => {
                    state.record.count(&name, programs, now);
                    state.changed = true;
                }
                // One of a program that has run meanwhile.
                None => drop(state.pending.insert(name, programs)),
                Some(_) => {}
            }
        }
    }

    /// After a failure: nothing is lost, and it is tried again after a pause.
    pub fn not_now(&self) {
        self.state().not_before = Some(Instant::now() + PAUSE);
    }

    /// For a workshop that is to open fast.
    pub fn nothing(&self) -> Choice {
        Choice { names: Vec::new(), cleared: self.state().cleared }
    }

    /// What a workshop of this Python is to import. What the current one was to import comes first, so that the choice stays the same for long.
    pub fn choose(&self, python: &str, current: &Choice) -> Choice {
        let mut state = self.state();
        state.changed |= state.record.forget_other_pythons(python);
        // Packages may have been installed since.
        state.known.clear();
        state.choose(current)
    }

    /// Whether a new workshop would have modules that the current one has not.
    pub fn has_more_than(&self, current: &Choice) -> bool {
        self.state().choose(current).names.iter().any(|name| !current.names.contains(name))
    }

    /// Whether everything was forgotten since `current`.
    pub fn was_cleared_since(&self, current: &Choice) -> bool {
        self.state().cleared != current.cleared
    }

    /// Remembers what became of a module of `choice`, unless everything was forgotten since. What is left out is logged, but once.
    pub fn tried(&self, choice: &Choice, Tried { name, verdict }: &Tried) {
        let mut state = self.state();
        if state.cleared != choice.cleared {
            return;
        }
        match verdict {
            Verdict::Loaded => state.changed |= state.record.admit(name),
            Verdict::Absent => {
                state.record.forget(name);
                state.changed = true;
            }
            Verdict::LeftOut(reason) => {
                if state.record.leave_out(name, reason, now()) {
                    tracing::info!(module = name, reason, "programs import a module often, and it cannot be preloaded");
                }
                state.changed = true;
            }
            Verdict::Postponed => {}
        }
    }

    pub fn report(&self) -> Report {
        self.state().record.report()
    }

    /// Writes what has changed to the file, off the event loop.
    pub async fn write(self: Arc<Self>) {
        let _only_one = self.writing.lock().await;
        let record = {
            let mut state = self.state();
            if !std::mem::take(&mut state.changed) {
                return;
            }
            state.record.clone()
        };
        let learning = self.clone();
        let written = tokio::task::spawn_blocking(move || record.write(&learning.file)).await;
        match written.map_err(io::Error::other).and_then(|written| written) {
            Ok(()) => self.warned.store(false, Ordering::Relaxed),
            Err(error) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(file = %self.file.display(), %error, "what is learned about modules cannot be kept");
                }
                self.state().changed = true;
                self.not_now();
            }
        }
    }

    /// Forgets everything.
    pub async fn clear(self: Arc<Self>) -> io::Result<()> {
        let _only_one = self.writing.lock().await;
        {
            let mut state = self.state();
            *state = State { cleared: state.cleared + 1, ..State::default() };
        }
        let learning = self.clone();
        tokio::task::spawn_blocking(move || remove(&learning.file)).await.map_err(io::Error::other)?
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn choose(&self, current: &Choice) -> Choice {
        let mut names = self.record.wanted(now());
        if self.cleared == current.cleared {
            names.sort_by_key(|name| !current.names.contains(name));
        }
        names.truncate(MOST_CHOSEN);
        Choice { names, cleared: self.cleared }
    }
}

impl Record {
    fn report(&self) -> Report {
        let modules = self.counted(now()).into_iter().map(|(module, programs)| Counted { module, programs }).collect();
        Report { modules, left_out: self.left_out(), ..Report::default() }
    }
}

/// What was learned before, for an interpreter that does not run.
pub fn read(state_directory: &Path) -> io::Result<Report> {
    Ok(Record::read(&state_directory.join(FILE), now())?.report())
}

/// Forgets it, for an interpreter that does not run.
pub fn clear(state_directory: &Path) -> io::Result<()> {
    remove(&state_directory.join(FILE))
}

fn remove(file: &Path) -> io::Result<()> {
    fs::remove_file(file).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
