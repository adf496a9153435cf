//! The interpreter's end of a spawner: what slots are built with. A slot keeps it alive.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::channel::{Received, Rehearsal, SpawnerMessage, SpawnerReport, receive, send};
use crate::control_group::ControlGroups;
use crate::launch::Launch;
use crate::sandbox::{Policy, watch};

/// How often it is checked whether the handle is still in use.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

pub struct SpawnerHandle {
    socket: AsyncFd<OwnedFd>,
    pub policy: Policy,
    pub launch: Launch,
    /// `None` if this process has no control group to divide.
    pub groups: Option<Arc<ControlGroups>>,
    ended: AtomicBool,
    /// The spawner. Dropping it kills the spawner, and with it the zygote and every slot.
    _process: Child,
}

impl SpawnerHandle {
    /// Starts a spawner with `command`, which runs [`super::run`]. The kernel kills the spawner when the calling thread ends, so this must
    /// be the main thread.
    pub fn start(
        command: &[OsString],
        policy: Policy,
        launch: Launch,
        groups: Option<Arc<ControlGroups>>,
    ) -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // Only this end is non-blocking: the interpreter must not wait for a spawner that does not read.
        rustix::io::ioctl_fionbio(&ours, true)?;
        let [program, arguments @ ..] = command else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command is given"));
        };
        let process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .current_dir("/")
            // Ctrl-C in a terminal goes to a whole process group. Only the interpreter is to act on it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        send(ours.as_fd(), &SpawnerMessage::Prepare(Box::new(policy.clone()), launch.clone()), &[])?;
        Ok(SpawnerHandle {
            socket: watch(ours)?,
            policy,
            launch,
            groups,
            ended: AtomicBool::new(false),
            _process: process,
        })
    }

    /// Asks for one slot. Waits while the socket is full. The descriptors are those of [`SpawnerMessage::Spawn`].
    pub async fn spawn(&self, rehearsal: Rehearsal, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            let mut ready = self.socket.writable().await?;
            if let Ok(sent) =
                ready.try_io(|socket| send(socket.get_ref(), &SpawnerMessage::Spawn(rehearsal), descriptors))
            {
                return sent;
            }
        }
    }

    /// The spawner's next report; `None` when it has ended without one.
    pub async fn report(&self) -> Option<SpawnerReport> {
        loop {
            let mut ready = self.socket.readable().await.ok()?;
            match ready.try_io(|socket| receive(socket.get_ref())) {
                Ok(Ok(Some(Received { message, .. }))) => return Some(message),
                Ok(_) => return None,
                Err(_would_block) => {}
            }
        }
    }

    /// Whether the spawner or its zygote has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits for the end of the spawner or of its zygote, and logs the cause. Ends as well when nothing uses the handle any more.
    pub async fn watch_end(handle: Weak<Self>) {
        loop {
            // Upgraded only for a while, so that the handle can be dropped.
            let Some(held) = handle.upgrade() else { return };
            match timeout(WATCH_INTERVAL, held.report()).await {
                Err(_still_running) => {}
                Ok(Some(SpawnerReport::Ready | SpawnerReport::Imported(_) | SpawnerReport::Tried(_))) => {}
                Ok(ended) => {
                    held.ended.store(true, Ordering::Relaxed);
                    let cause = match ended {
                        Some(SpawnerReport::Failed(failure)) => failure.to_string(),
                        _ => "the spawner was killed".to_owned(),
                    };
                    return tracing::warn!(cause, "Python has ended; it is started again");
                }
            }
        }
    }
}
