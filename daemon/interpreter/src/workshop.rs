//! What slots are made with: the Python that was found, and the spawner with a zygote of it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::channel::{Received, receive, send};
use crate::control_group::ControlGroups;
use crate::executor::{ExecuteError, Settings};
use crate::probe::{self, Protections};
use crate::python::{self, Launch, Trace};
use crate::sandbox::{Policy, watch};
use crate::spawner::{SpawnerMessage, SpawnerReport};

/// Longest wait for a zygote: it imports what is to be preloaded, perhaps from a cold disk.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// After this long another workshop takes over: with a new hash seed, new addresses, and fresh memory.
const LONGEST_USE: Duration = Duration::from_secs(600);

pub struct Workshop {
    /// The spawner's socket.
    pub spawner: AsyncFd<OwnedFd>,
    pub python_version: String,
    pub launch: Launch,
    trace: (Vec<PathBuf>, Trace),
    pub policy: Policy,
    /// Where slots get control groups of their own, if one was delegated to this process.
    pub groups: Option<Arc<ControlGroups>>,
    /// What an attack on one of its slots has shown.
    pub protections: Protections,
    /// What programs can import, asked of one of them when somebody wants to know.
    libraries: OnceCell<BTreeMap<String, String>>,
    opened: Instant,
    most_slots: u64,
    slots: AtomicU64,
    ended: AtomicBool,
    /// Killed when this is dropped.
    _process: Child,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkshopError {
    #[error("cannot start the spawner of slots ({program}): {source}")]
    Spawner { program: String, source: io::Error },
    #[error("the spawner of slots ended before it was ready: it was killed, or memory ran out")]
    Ended,
    #[error(
        "Python was not ready within {READY_DEADLINE:?}: the machine is overloaded, or a preloaded module waits for something"
    )]
    Slow,
}

impl Workshop {
    /// Finds Python and makes a zygote of it. Must be called on the thread whose end is to end the spawner: the main one.
    pub async fn open(settings: &Settings, groups: Option<Arc<ControlGroups>>) -> Result<Arc<Self>, ExecuteError> {
        let private = python::private_directories(&settings.state_directory);
        let python = python::discover(settings, &private).await?;
        let policy = Policy::new(python.root, settings.limits.clone(), settings.network);
        let prepare = SpawnerMessage::Prepare(Box::new(policy.clone()), python.launch.clone());
        let (spawner, process) = start(settings, &prepare).map_err(|source| WorkshopError::Spawner {
            program: settings.spawner.first().map(|program| program.display().to_string()).unwrap_or_default(),
            source,
        })?;
        let started = Instant::now();
        match timeout(READY_DEADLINE, report(&spawner)).await {
            Ok(Some(SpawnerReport::Ready)) => {}
            Ok(Some(SpawnerReport::Failed(failure))) => return Err(crate::slot::SlotError::Failed(failure).into()),
            Ok(None) => return Err(WorkshopError::Ended.into()),
            Err(_) => return Err(WorkshopError::Slow.into()),
        }
        tracing::info!(
            python_version = python.version,
            executable = %python.launch.executable.display(),
            duration_milliseconds = started.elapsed().as_millis() as u64,
            "Python is ready"
        );
        let mut workshop = Arc::new(Workshop {
            spawner,
            python_version: python.version,
            launch: python.launch,
            trace: python.trace,
            policy,
            groups,
            protections: Protections::new(),
            libraries: OnceCell::new(),
            opened: started,
            most_slots: settings.most_slots,
            slots: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            _process: process,
        });
        let protections = probe::attack(&workshop, &private).await?;
        if let Some(workshop) = Arc::get_mut(&mut workshop) {
            workshop.protections = protections;
        }
        tokio::spawn(watch_end(Arc::downgrade(&workshop)));
        Ok(workshop)
    }

    /// The installed libraries, name → version; none if that cannot be found out.
    pub async fn libraries(self: &Arc<Self>) -> BTreeMap<String, String> {
        let find = || async {
            let found = probe::libraries(self).await;
            found.inspect_err(|error| tracing::warn!(%error, "libraries cannot be listed")).unwrap_or_default()
        };
        self.libraries.get_or_init(find).await.clone()
    }

    pub fn count_slot(&self) {
        self.slots.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether another one should take over.
    pub fn is_worn(&self) -> bool {
        let slots = self.slots.load(Ordering::Relaxed);
        slots >= self.most_slots || (slots > 0 && self.opened.elapsed() >= LONGEST_USE)
    }

    /// Its spawner or its zygote is gone, or its Python was taken away or replaced.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || Trace::at(&self.trace.0) != self.trace.1
    }
}

/// Notices, and tells the log why, when the spawner or the zygote ends.
async fn watch_end(workshop: std::sync::Weak<Workshop>) {
    loop {
        // Not held while waiting: the workshop ends with its last slot.
        let Some(held) = workshop.upgrade() else { return };
        match timeout(Duration::from_secs(1), report(&held.spawner)).await {
            Err(_still_there) => {}
            Ok(Some(SpawnerReport::Ready)) => {}
            Ok(ended) => {
                held.ended.store(true, Ordering::Relaxed);
                let cause = match ended {
                    Some(SpawnerReport::Failed(failure)) => failure.to_string(),
                    _ => "the spawner was killed".to_owned(),
                };
                return tracing::warn!(cause, "Python is gone; it is started again");
            }
        }
    }
}

async fn report(spawner: &AsyncFd<OwnedFd>) -> Option<SpawnerReport> {
    loop {
        let mut ready = spawner.readable().await.ok()?;
        match ready.try_io(|spawner| receive(spawner.get_ref())) {
            Ok(Ok(Some(Received { message, .. }))) => return Some(message),
            Ok(_) => return None,
            Err(_would_block) => {}
        }
    }
}

fn start(settings: &Settings, prepare: &SpawnerMessage) -> io::Result<(AsyncFd<OwnedFd>, Child)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // A spawner that does not read must not stop the interpreter; its own end blocks, because it has nothing else to do.
    rustix::io::ioctl_fionbio(&ours, true)?;
    let [program, arguments @ ..] = settings.spawner.as_slice() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command is given"));
    };
    let process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .current_dir("/")
        // Signals for whoever started the interpreter, as Ctrl-C, are for the interpreter to act on.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    send(ours.as_fd(), prepare, &[])?;
    Ok((watch(ours)?, process))
}
