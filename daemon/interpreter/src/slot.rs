//! A slot: one execution's isolated world, with a child that waits in it for a program. Which program runs there, and how it ends, is not
//! decided here but in [`run`](crate::run).

mod control;
mod error;
mod processes;
mod workspace;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::channel::{Rehearsal, SlotMessage};
use crate::control_group::ControlGroup;
use crate::precedence;
use crate::sandbox::{Identity, limit_address_space, watch};
use crate::spawner::SpawnerHandle;
pub use control::Control;
pub use error::{DEADLINE, SlotError};
pub use processes::Processes;
pub use workspace::{Stamp, put};

/// One execution's private world. Dropping it kills every process in it.
pub struct Slot {
    process: FirstProcess,
    /// The directory `/workspace`. It stays readable after every process in the slot has ended.
    pub workspace: Arc<OwnedFd>,
    /// The slot's first process. Its id is that in the interpreter's pid namespace.
    pub first: Pid,
    pub group: Option<ControlGroup>,
    /// The spawner that built it, which must outlive it.
    pub spawner: Arc<SpawnerHandle>,
}

/// A process in a slot, isolated, that waits for a program.
pub struct WaitingChild {
    pub control: Control,
    pub output: Output,
    /// It, and later those of its program.
    pub processes: Processes,
}

/// The program's output. A stream ends when the last process that holds it has ended.
pub struct Output {
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
}

impl Slot {
    /// Builds a slot, and waits until its child is isolated and waits for a program.
    pub async fn build(spawner: Arc<SpawnerHandle>, rehearsal: Rehearsal) -> Result<(Slot, WaitingChild), SlotError> {
        Self::try_build(spawner, rehearsal).await.map_err(SlotError::or_short)
    }

    async fn try_build(spawner: Arc<SpawnerHandle>, rehearsal: Rehearsal) -> Result<(Slot, WaitingChild), SlotError> {
        let limits = &spawner.policy.limits;
        let group = spawner.groups.as_ref().map(|groups| groups.make(limits)).transpose()?.flatten();
        let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)?;
        rustix::io::ioctl_fionbio(&control, true).map_err(io::Error::from)?;
        // The kernel adds each sender's process id, translated to this pid namespace. That is how the child's id is known here.
        set_socket_passcred(&control, true).map_err(io::Error::from)?;
        let identity = &spawner.policy.identity;
        let (stdout, stdout_theirs) = output_pipe(identity)?;
        let (stderr, stderr_theirs) = output_pipe(identity)?;
        let mut descriptors = vec![theirs.as_fd(), stdout_theirs.as_fd(), stderr_theirs.as_fd()];
        descriptors.extend(group.iter().map(|group| group.entrance.as_fd()));
        let asked = timeout(DEADLINE, spawner.spawn(rehearsal, &descriptors)).await.map_err(|_| SlotError::Slow)?;
        asked.map_err(|error| {
            if SlotError::is_hang_up(&error) { SlotError::SpawnerGone(error) } else { SlotError::Io(error) }
        })?;
        drop((theirs, stdout_theirs, stderr_theirs));

        let control = Control(watch(control)?);
        let ready = async {
            let spawned = control.next().await?;
            let process = match (spawned.message, spawned.descriptors.into_iter().next()) {
                (SlotMessage::Spawned, Some(process)) => FirstProcess(watch(process)?),
                (message, _) => return Err(SlotError::of_message(message)),
            };
            let built = control.next().await?;
            let (workspace, first) = match (built.message, built.descriptors.into_iter().next(), built.sender) {
                (SlotMessage::Built, Some(workspace), Some(first)) => (workspace, first),
                (message, ..) => return Err(SlotError::of_message(message)),
            };
            let ready = control.next().await?;
            match (ready.message, ready.sender) {
                (SlotMessage::Ready, Some(child)) => {
                    Ok((process, workspace, first, Processes::new(child, ready.descriptors.into_iter().next())?))
                }
                (message, _) => Err(SlotError::of_message(message)),
            }
        };
        let (process, workspace, first, processes) = timeout(DEADLINE, ready).await.map_err(|_| SlotError::Slow)??;
        if group.is_none() {
            limit_address_space(processes.first, limits.address_space())?;
        }
        precedence::of_program(processes.first, group.as_ref().is_some_and(ControlGroup::shares_processors));
        let slot = Slot { process, workspace: Arc::new(workspace), first, group, spawner };
        Ok((slot, WaitingChild { control, output: Output { stdout, stderr }, processes }))
    }

    /// Whether its writable places are full: no space, or no inodes left.
    pub fn is_full(&self) -> bool {
        rustix::fs::fstatvfs(&self.workspace).is_ok_and(|status| status.f_bfree == 0 || status.f_ffree == 0)
    }

    /// Kills every process in the slot and waits until all have ended. The workspace stays readable.
    pub async fn kill(&self) -> Result<(), SlotError> {
        self.process.kill();
        match timeout(DEADLINE, self.process.0.readable()).await {
            Ok(ended) => Ok(ended.map(drop)?),
            Err(_) => Err(SlotError::NotGone),
        }
    }
}

impl WaitingChild {
    /// False if the child has ended, as when it was killed from outside.
    pub fn is_waiting(&self) -> bool {
        self.control.is_quiet()
    }
}

/// The pidfd of a slot's first process, which is killed on drop. The kernel then kills everything in its pid namespace.
struct FirstProcess(AsyncFd<OwnedFd>);

impl FirstProcess {
    fn kill(&self) {
        // It fails only if the process has ended already.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

impl Drop for FirstProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A pipe's read end, non-blocking, and its write end for the program.
fn output_pipe(identity: &Identity) -> io::Result<(pipe::Receiver, OwnedFd)> {
    // Only a pipe's owner can open it as /dev/stdout, so the program's user must own it.
    let _as_program = identity.act();
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((pipe::Receiver::from_owned_fd(ours)?, theirs))
}
