//! A workshop: a Python that was found, and a spawner with a zygote of it, from which slots come.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::bytecode::Bytecode;
use crate::channel::{Failure, SpawnerReport, Tried, Verdict};
use crate::control_group::ControlGroups;
use crate::launch::Learned;
use crate::learning::{Choice, Learning};
use crate::probe::{self, ProbeError, Protections};
use crate::python::{self, Fingerprint, PythonError};
use crate::sandbox::Policy;
use crate::settings::Settings;
use crate::spawner::SpawnerHandle;

/// Longest wait for a zygote: it imports the preloaded modules, perhaps from a cold disk.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Longest wait if it is to import learned modules as well. Nobody waits for those.
const LEARNED_DEADLINE: Duration = Duration::from_secs(150);
/// Learned modules may enlarge a zygote by so many bytes, and by no more than this part (1/12) of the memory of all programs together.
const ROOM: u64 = 512 * 1024 * 1024;
const PART: u64 = 12;
/// A workshop is replaced when it is this old. The new one has another hash seed, other addresses, and fresh memory.
const MAX_AGE: Duration = Duration::from_secs(600);

pub struct Workshop {
    pub spawner: Arc<SpawnerHandle>,
    pub python_version: String,
    fingerprint: Fingerprint,
    /// Which protections held when one of its slots was attacked.
    pub protections: Protections,
    /// What it was to learn.
    pub choice: Choice,
    /// The learned modules that programs find imported.
    pub learned: Vec<String>,
    /// What programs find imported in any case, if modules are learned.
    pub anyway: BTreeSet<String>,
    /// What programs can import: asked of a program at the first need.
    libraries: OnceCell<BTreeMap<String, String>>,
    opened: Instant,
    most_slots: u64,
    slots: AtomicU64,
    bytecode: Option<Bytecode>,
    /// Compiles packages in the background, and ends with the workshop.
    compiling: OnceLock<AbortOnDropHandle<()>>,
}

/// Which learned modules a workshop is to import.
#[derive(Clone, Copy)]
pub enum Lesson<'a> {
    /// The settings name all modules.
    Nothing,
    /// None, so that it opens fast.
    Fast(&'a Learning),
    /// What was learned until now. The choice is that of the current workshop; its modules come first.
    All(&'a Learning, &'a Choice),
}

#[derive(Debug, thiserror::Error)]
pub enum WorkshopError {
    #[error(transparent)]
    Python(#[from] PythonError),
    #[error("cannot start the spawner of slots ({program}): {source}")]
    Spawner { program: String, source: io::Error },
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("the spawner of slots ended before it was ready: it was killed, or memory ran out")]
    Ended,
    #[error(
        "Python was not ready within {READY_DEADLINE:?}: the machine is overloaded, or a preloaded module waits for something"
    )]
    Slow,
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

impl Workshop {
    /// Finds Python, starts a zygote of it, and attacks one of its slots. Must be called on the main thread: the spawner dies with the
    /// thread that starts it.
    pub async fn open(
        settings: &Settings,
        groups: Option<Arc<ControlGroups>>,
        lesson: Lesson<'_>,
    ) -> Result<Arc<Self>, WorkshopError> {
        let private = python::private_directories(&settings.state_directory);
        let mut python = python::discover(settings, &private).await?;
        let bytecode = match &settings.bytecode {
            Some(parent) => Bytecode::open(parent, &python.packages).await,
            None => None,
        };
        python.root.binds.extend(bytecode.iter().map(Bytecode::bind));
        let (learning, choice) = lesson.of(&python.fingerprint);
        if learning.is_some() {
            let room = ROOM.min(settings.limits.total_memory() / PART) / 1024;
            python.launch.learned = Some(Learned { names: choice.names.clone(), room });
        }
        let policy = Policy::new(python.root, settings.limits.clone(), settings.network);
        let spawner = SpawnerHandle::start(&settings.spawner, policy, python.launch, groups).map_err(|source| {
            let program = settings.spawner.first().map(|program| program.display().to_string()).unwrap_or_default();
            WorkshopError::Spawner { program, source }
        })?;
        let started = Instant::now();
        let deadline = if choice.names.is_empty() { READY_DEADLINE } else { LEARNED_DEADLINE };
        let mut reported = Reported::default();
        let lesson = learning.map(|learning| (learning, &choice));
        let ready = timeout(deadline, reported.wait_until_ready(&spawner, lesson)).await;
        ready.unwrap_or(Err(WorkshopError::Slow)).inspect_err(|error| {
            // If Python or the spawner was killed, no module is to blame.
            if matches!(error, WorkshopError::Slow | WorkshopError::Failed(Failure::Python { .. })) {
                reported.blame(lesson);
            }
        })?;
        let Reported { anyway, learned, .. } = reported;
        tracing::info!(
            python_version = python.version,
            executable = %spawner.launch.executable.display(),
            learned = learned.len(),
            duration_milliseconds = started.elapsed().as_millis() as u64,
            "Python is ready"
        );
        let spawner = Arc::new(spawner);
        let protections = probe::attack(&spawner, &private).await?;
        tokio::spawn(SpawnerHandle::watch_end(Arc::downgrade(&spawner)));
        Ok(Arc::new(Workshop {
            choice,
            learned,
            anyway,
            bytecode,
            compiling: OnceLock::new(),
            spawner,
            python_version: python.version,
            fingerprint: python.fingerprint,
            protections,
            libraries: OnceCell::new(),
            opened: started,
            most_slots: settings.most_slots,
            slots: AtomicU64::new(0),
        }))
    }

    /// It becomes the current one: compiles packages from now on.
    pub fn take_over(&self) {
        let spawner = self.spawner.clone();
        if let Some(bytecode) = self.bytecode.clone() {
            self.compiling.get_or_init(|| AbortOnDropHandle::new(tokio::spawn(bytecode.fill(spawner))));
        }
    }

    /// The installed libraries: name → version. Empty if they cannot be listed.
    pub async fn libraries(&self) -> BTreeMap<String, String> {
        let find = || async {
            let found = probe::libraries(&self.spawner).await;
            found.inspect_err(|error| tracing::warn!(%error, "cannot list libraries")).unwrap_or_default()
        };
        self.libraries.get_or_init(find).await.clone()
    }

    /// Counts a slot that a program gets.
    pub fn count_slot(&self) {
        self.slots.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a new workshop should replace it. One that no program has used yet is still fresh.
    pub fn is_worn(&self) -> bool {
        let slots = self.slots.load(Ordering::Relaxed);
        slots >= self.most_slots || (slots > 0 && self.opened.elapsed() >= MAX_AGE)
    }

    /// Whether its spawner or zygote has ended, or its Python was removed or replaced.
    pub fn has_ended(&self) -> bool {
        self.spawner.has_ended() || !self.fingerprint.still_matches()
    }
}

impl<'a> Lesson<'a> {
    fn of(self, python: &Fingerprint) -> (Option<&'a Learning>, Choice) {
        match self {
            Lesson::Nothing => (None, Choice::default()),
            Lesson::Fast(learning) => (Some(learning), learning.nothing()),
            Lesson::All(learning, current) => (Some(learning), learning.choose(&python.digest(), current)),
        }
    }
}

/// What a zygote has reported until it was ready.
#[derive(Default)]
struct Reported {
    /// What it has imported in any case.
    anyway: BTreeSet<String>,
    /// The learned modules that it has imported, and those of which it said anything.
    learned: Vec<String>,
    tried: Vec<String>,
}

impl Reported {
    async fn wait_until_ready(
        &mut self,
        spawner: &SpawnerHandle,
        lesson: Option<(&Learning, &Choice)>,
    ) -> Result<(), WorkshopError> {
        loop {
            match spawner.report().await {
                Some(SpawnerReport::Ready) => return Ok(()),
                Some(SpawnerReport::Failed(failure)) => return Err(failure.into()),
                None => return Err(WorkshopError::Ended),
                // A zygote that starts anew imports once more.
                Some(SpawnerReport::Imported(names)) => {
                    self.anyway = names.into_iter().collect();
                    let loaded = std::mem::take(&mut self.learned);
                    self.tried.retain(|name| !loaded.contains(name));
                }
                Some(SpawnerReport::Tried(tried)) => {
                    if let Some((learning, choice)) = lesson
                        && choice.names.contains(&tried.name)
                    {
                        learning.tried(choice, &tried);
                        self.tried.push(tried.name.clone());
                        self.learned.extend((tried.verdict == Verdict::Loaded).then_some(tried.name));
                    }
                }
            }
        }
    }

    /// Leaves out the module at whose import the zygote has failed, although its trial went well.
    fn blame(&self, lesson: Option<(&Learning, &Choice)>) {
        if let Some((learning, choice)) = lesson
            && !self.anyway.is_empty()
            && let Some(name) = choice.names.iter().find(|name| !self.tried.contains(name))
        {
            let verdict = Verdict::LeftOut("its import ends or stops Python".to_owned());
            learning.tried(choice, &Tried { name: name.clone(), verdict });
        }
    }
}
