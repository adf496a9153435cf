//! A slot as the interpreter holds it: made by the spawner, given one job, read until its end, and gone when dropped.

mod control;
pub mod first_process;
mod place;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::channel::{Failure, SlotMessage, send_bytes};
use crate::control_group::ControlGroup;
use crate::precedence;
use crate::sandbox::{Identity, limit_address_space, refused, watch};
use crate::spawner::{Need, SpawnerMessage};
use crate::workshop::Workshop;
use control::{next, request};
pub use place::{Stamp, put};

/// Longest wait for a slot to be built, and for one that was killed to be gone. Both take milliseconds on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// One execution's private world, with a child that waits for a program. Dropping it kills everything in it.
pub struct Slot {
    control: AsyncFd<OwnedFd>,
    process: FirstProcess,
    /// The directory `/workspace`, which can be read after everything in the slot has ended.
    pub workspace: Arc<OwnedFd>,
    /// The first process and the child, as the host sees them: all others descend from them.
    pub processes: [Pid; 2],
    pub group: Option<ControlGroup>,
    /// What it was made with, which ends when its last slot does.
    pub workshop: Arc<Workshop>,
}

/// The program's output: ends when the last process of the slot has ended.
pub struct Output {
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub exit: Exit,
    /// What its process, and the children that it has waited for, took of the processors.
    pub cpu_time: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("the program's surroundings were ended from outside, or memory ran out")]
    Died,
    #[error("the spawner of slots is gone: it was killed; it is started again with the next execution")]
    SpawnerGone(#[source] io::Error),
    /// Nothing is wrong with the workshop: another one would meet the same.
    #[error("{0}: nothing was run, try again when less runs on this machine")]
    Short(String),
    #[error("a slot was not ready within {DEADLINE:?}: the machine is overloaded")]
    Slow,
    #[error(
        "the program was to be ended, and something of it was still there after {DEADLINE:?}: it ran, and its output is lost"
    )]
    NotGone,
    #[error("cannot talk to a slot: {0}")]
    Io(#[from] io::Error),
}

impl Slot {
    /// Has the spawner of `workshop` build a slot, and waits until its child is isolated and waiting for its job.
    pub async fn build(workshop: Arc<Workshop>, need: Need) -> Result<(Slot, Output), SlotError> {
        Self::try_build(workshop, need).await.map_err(SlotError::or_short)
    }

    async fn try_build(workshop: Arc<Workshop>, need: Need) -> Result<(Slot, Output), SlotError> {
        let groups = workshop.groups.as_ref();
        let group = groups.map(|groups| groups.make(&workshop.policy.limits)).transpose()?.flatten();
        let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)?;
        rustix::io::ioctl_fionbio(&control, true).map_err(io::Error::from)?;
        // Of each message the kernel tells who sent it: so the child's id is known as it is outside.
        set_socket_passcred(&control, true).map_err(io::Error::from)?;
        let identity = &workshop.policy.identity;
        let (stdout, stdout_theirs) = output_pipe(identity)?;
        let (stderr, stderr_theirs) = output_pipe(identity)?;
        let mut descriptors = vec![theirs.as_fd(), stdout_theirs.as_fd(), stderr_theirs.as_fd()];
        descriptors.extend(group.iter().map(|group| group.entrance.as_fd()));
        let spawner = &workshop.spawner;
        timeout(DEADLINE, request(spawner, &SpawnerMessage::Spawn(need), &descriptors))
            .await
            .map_err(|_| SlotError::Slow)??;
        drop((theirs, stdout_theirs, stderr_theirs));

        let control = watch(control)?;
        let ready = async {
            let spawned = next(&control).await?;
            let process = match (spawned.message, spawned.descriptors.into_iter().next()) {
                (SlotMessage::Spawned, Some(process)) => FirstProcess(watch(process)?),
                (message, _) => return Err(unexpected(message)),
            };
            let built = next(&control).await?;
            let (workspace, first) = match (built.message, built.descriptors.into_iter().next(), built.sender) {
                (SlotMessage::Built, Some(workspace), Some(first)) => (workspace, first),
                (message, ..) => return Err(unexpected(message)),
            };
            let ready = next(&control).await?;
            match (ready.message, ready.sender) {
                (SlotMessage::Ready, Some(child)) => Ok((process, workspace, [first, child])),
                (message, _) => Err(unexpected(message)),
            }
        };
        let (process, workspace, processes) = timeout(DEADLINE, ready).await.map_err(|_| SlotError::Slow)??;
        if group.is_none() {
            limit_address_space(processes[1], workshop.policy.limits.address_space)?;
        }
        let shares_processors = group.as_ref().is_some_and(ControlGroup::shares_processors);
        precedence::of_program(processes[1], shares_processors);
        let workspace = Arc::new(workspace);
        Ok((Slot { control, process, workspace, processes, group, workshop }, Output { stdout, stderr }))
    }

    /// Hands over the job, after what it needs has been put into the workspace: the program starts.
    pub fn start(&self, job: &[u8]) -> Result<(), SlotError> {
        match send_bytes(&self.control, job, &[]) {
            // Nobody holds the other end: neither the child nor the zygote is there.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                Err(SlotError::Died)
            }
            result => Ok(result?),
        }
    }

    /// Waits for the program's end; the caller bounds it.
    pub async fn ended(&self) -> Result<Ended, SlotError> {
        match next(&self.control).await?.message {
            SlotMessage::Exited { status, cpu_milliseconds } => {
                let signal = status & 0x7f;
                let exit = if signal == 0 { Exit::Code((status >> 8) & 0xff) } else { Exit::Signal(signal) };
                Ok(Ended { exit, cpu_time: Duration::from_millis(cpu_milliseconds) })
            }
            message => Err(unexpected(message)),
        }
    }

    /// Whether its child still waits: it may have been killed from outside while nobody looked.
    pub fn is_waiting(&self) -> bool {
        control::is_quiet(&self.control)
    }

    /// Whether its places hold no more bytes, or no more files.
    pub fn is_full(&self) -> bool {
        rustix::fs::fstatvfs(&self.workspace).is_ok_and(|status| status.f_bfree == 0 || status.f_ffree == 0)
    }

    /// Kills everything in the slot and waits until it is gone; what it wrote stays readable.
    pub async fn kill(&self) -> Result<(), SlotError> {
        self.process.kill();
        match timeout(DEADLINE, self.process.0.readable()).await {
            Ok(ended) => Ok(ended.map(drop)?),
            Err(_) => Err(SlotError::NotGone),
        }
    }
}

impl SlotError {
    /// Whether this machine, or this process, has no more of something for the moment.
    fn or_short(self) -> Self {
        use rustix::io::Errno;
        const SHORT: [Errno; 7] =
            [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::NOBUFS, Errno::NOSPC, Errno::USERS];
        let number = match &self {
            SlotError::Io(error) => error.raw_os_error(),
            SlotError::Failed(Failure::Isolation(error)) => error.number,
            _ => None,
        };
        match number {
            Some(number) if SHORT.iter().any(|short| short.raw_os_error() == number) => SlotError::Short(format!(
                "there is no room for another program ({})",
                io::Error::from_raw_os_error(number)
            )),
            _ => self,
        }
    }
}

/// What came instead of what is always next.
fn unexpected(message: SlotMessage) -> SlotError {
    match message {
        SlotMessage::Failed(failure) => failure.into(),
        SlotMessage::Refused { step, error } => {
            Failure::Isolation(refused(&step, &io::Error::from_raw_os_error(error))).into()
        }
        _ => SlotError::Died,
    }
}

/// The pidfd of a slot's first process: killing it ends the pid namespace, and it does not outlive this.
struct FirstProcess(AsyncFd<OwnedFd>);

impl FirstProcess {
    fn kill(&self) {
        // The only error is that it has ended.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

impl Drop for FirstProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn output_pipe(identity: &Identity) -> io::Result<(pipe::Receiver, OwnedFd)> {
    // Whose they are decides who may open /dev/stdout.
    let _as_program = identity.act();
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((pipe::Receiver::from_owned_fd(ours)?, theirs))
}
