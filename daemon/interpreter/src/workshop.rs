//! What slots are made with: the Python that was found, and the spawner that was told about it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

use crate::channel::send;
use crate::executor::{ExecuteError, Settings};
use crate::python;
use crate::sandbox::{Policy, watch};
use crate::spawner::SpawnerMessage;

pub struct Workshop {
    /// The spawner's socket.
    pub spawner: AsyncFd<OwnedFd>,
    pub python_version: String,
    /// Killed when this is dropped.
    _process: Child,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkshopError {
    #[error("cannot start the spawner of slots ({program}): {source}")]
    Spawner { program: String, source: io::Error },
}

impl Workshop {
    /// Finds Python and starts a spawner for it. Must be called on the thread whose end is to end the spawner: the main one.
    pub async fn open(settings: &Settings) -> Result<Self, ExecuteError> {
        let private = python::private_directories(&settings.state_directory);
        let python = python::discover(settings.python.as_deref(), &private).await?;
        tracing::info!(version = python.version, executable = %python.launch.executable.display(), "Python found");
        let policy = Policy::new(python.root, settings.limits.clone());
        let (spawner, process) =
            start(settings, &SpawnerMessage::Prepare(Box::new(policy), python.launch)).map_err(|source| {
                WorkshopError::Spawner {
                    program: settings.spawner.first().map(|program| program.display().to_string()).unwrap_or_default(),
                    source,
                }
            })?;
        Ok(Workshop { spawner, python_version: python.version, _process: process })
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
        .kill_on_drop(true)
        .spawn()?;
    send(ours.as_fd(), prepare, &[])?;
    Ok((watch(ours)?, process))
}
