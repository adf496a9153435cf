//! A workshop: a Python that was found, and a spawner with a zygote of it, from which slots come.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::bytecode::Bytecode;
use crate::channel::{Failure, SpawnerReport};
use crate::control_group::ControlGroups;
use crate::probe::{self, ProbeError, Protections};
use crate::python::{self, Fingerprint, PythonError};
use crate::sandbox::Policy;
use crate::settings::Settings;
use crate::spawner::SpawnerHandle;

/// Longest wait for a zygote: it imports the preloaded modules, perhaps from a cold disk.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// A workshop is replaced when it is this old. The new one has another hash seed, other addresses, and fresh memory.
const MAX_AGE: Duration = Duration::from_secs(600);

pub struct Workshop {
    pub spawner: Arc<SpawnerHandle>,
    pub python_version: String,
    fingerprint: Fingerprint,
    /// Which protections held when one of its slots was attacked.
    pub protections: Protections,
    /// What programs can import: asked of a program at the first need.
    libraries: OnceCell<BTreeMap<String, String>>,
    opened: Instant,
    most_slots: u64,
    slots: AtomicU64,
    /// Compiles packages in the background, and ends with the workshop.
    _compiling: Option<AbortOnDropHandle<()>>,
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
    pub async fn open(settings: &Settings, groups: Option<Arc<ControlGroups>>) -> Result<Arc<Self>, WorkshopError> {
        let private = python::private_directories(&settings.state_directory);
        let mut python = python::discover(settings, &private).await?;
        let bytecode = match &settings.bytecode {
            Some(parent) => Bytecode::open(parent, &python.packages).await,
            None => None,
        };
        python.root.binds.extend(bytecode.iter().map(Bytecode::bind));
        let policy = Policy::new(python.root, settings.limits.clone(), settings.network);
        let spawner = SpawnerHandle::start(&settings.spawner, policy, python.launch, groups).map_err(|source| {
            let program = settings.spawner.first().map(|program| program.display().to_string()).unwrap_or_default();
            WorkshopError::Spawner { program, source }
        })?;
        let started = Instant::now();
        match timeout(READY_DEADLINE, spawner.report()).await {
            Ok(Some(SpawnerReport::Ready)) => {}
            Ok(Some(SpawnerReport::Failed(failure))) => return Err(failure.into()),
            Ok(None) => return Err(WorkshopError::Ended),
            Err(_) => return Err(WorkshopError::Slow),
        }
        tracing::info!(
            python_version = python.version,
            executable = %spawner.launch.executable.display(),
            duration_milliseconds = started.elapsed().as_millis() as u64,
            "Python is ready"
        );
        let spawner = Arc::new(spawner);
        let protections = probe::attack(&spawner, &private).await?;
        tokio::spawn(SpawnerHandle::watch_end(Arc::downgrade(&spawner)));
        let compiling = bytecode.map(|bytecode| AbortOnDropHandle::new(tokio::spawn(bytecode.fill(spawner.clone()))));
        Ok(Arc::new(Workshop {
            _compiling: compiling,
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
