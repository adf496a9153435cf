//! A slot as the interpreter holds it: made by the spawner, given one job, read until its end, and gone when dropped.

pub mod first_process;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::channel::{Exit, Failure, SlotMessage, receive, send};
use crate::job::Job;
use crate::sandbox::watch;
use crate::spawner::SpawnerMessage;

/// Longest wait for a slot to be built, and for one that was killed to be gone. Both take milliseconds on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// One execution's private world. Dropping it kills everything in it.
pub struct Slot {
    control: AsyncFd<OwnedFd>,
    process: FirstProcess,
    /// The directory `/workspace`, which can be read after everything in the slot has ended.
    pub workspace: OwnedFd,
}

/// The program's output: ends when the last process of the slot has ended.
pub struct Output {
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
}

#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("the slot's first process ended without an answer: it was killed from outside, or memory ran out")]
    Died,
    #[error("the spawner of slots is gone: it was killed; it is started again with the next execution")]
    SpawnerGone(#[source] io::Error),
    #[error("a slot was not ready within {DEADLINE:?}: the machine is overloaded")]
    Slow,
    #[error("cannot talk to a slot: {0}")]
    Io(#[from] io::Error),
}

impl Slot {
    /// Has the spawner at the other end of `spawner` build a slot, and waits until it is isolated and waiting for its job.
    pub async fn build(spawner: &AsyncFd<OwnedFd>) -> Result<(Slot, Output), SlotError> {
        let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)?;
        rustix::io::ioctl_fionbio(&control, true).map_err(io::Error::from)?;
        let (stdout, stdout_theirs) = output_pipe()?;
        let (stderr, stderr_theirs) = output_pipe()?;
        let descriptors = [theirs.as_fd(), stdout_theirs.as_fd(), stderr_theirs.as_fd()];
        timeout(DEADLINE, request(spawner, &descriptors)).await.map_err(|_| SlotError::Slow)??;
        drop((theirs, stdout_theirs, stderr_theirs));

        let control = watch(control)?;
        let ready = async {
            let process = match next(&control).await? {
                (SlotMessage::Spawned, Some(process)) => FirstProcess(watch(process)?),
                (SlotMessage::Failed(failure), _) => return Err(failure.into()),
                _ => return Err(SlotError::Died),
            };
            match next(&control).await? {
                (SlotMessage::Ready, Some(workspace)) => Ok((process, workspace)),
                (SlotMessage::Failed(failure), _) => Err(failure.into()),
                _ => Err(SlotError::Died),
            }
        };
        let (process, workspace) = timeout(DEADLINE, ready).await.map_err(|_| SlotError::Slow)??;
        Ok((Slot { control, process, workspace }, Output { stdout, stderr }))
    }

    /// Hands over the job and its files' descriptors: Python starts.
    pub fn start(&self, job: &Job, files: &[OwnedFd]) -> Result<(), SlotError> {
        let job = job.write()?;
        let descriptors: Vec<_> = std::iter::once(job.as_fd()).chain(files.iter().map(AsFd::as_fd)).collect();
        Ok(send(&self.control, &(), &descriptors)?)
    }

    /// Waits for Python's end; the caller bounds it.
    pub async fn ended(&self) -> Result<Exit, SlotError> {
        match next(&self.control).await? {
            (SlotMessage::Exited(exit), _) => Ok(exit),
            (SlotMessage::Failed(failure), _) => Err(failure.into()),
            _ => Err(SlotError::Died),
        }
    }

    /// Kills everything in the slot and waits until it is gone; what it wrote stays readable.
    pub async fn kill(&self) -> Result<(), SlotError> {
        self.process.kill();
        match timeout(DEADLINE, self.process.0.readable()).await {
            Ok(ended) => Ok(ended.map(drop)?),
            Err(_) => Err(SlotError::Slow),
        }
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

fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((pipe::Receiver::from_owned_fd(ours)?, theirs))
}

/// Asks the spawner for a slot, when it is its turn: the socket holds only so many requests.
async fn request(spawner: &AsyncFd<OwnedFd>, descriptors: &[BorrowedFd<'_>]) -> Result<(), SlotError> {
    loop {
        let mut ready = spawner.writable().await?;
        match ready.try_io(|spawner| send(spawner.get_ref(), &SpawnerMessage::Spawn, descriptors)) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                return Err(SlotError::SpawnerGone(error));
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_would_block) => {}
        }
    }
}

/// The next message of a slot, with its descriptor if it brought one.
async fn next(control: &AsyncFd<OwnedFd>) -> Result<(SlotMessage, Option<OwnedFd>), SlotError> {
    loop {
        let mut ready = control.readable().await?;
        match ready.try_io(|control| receive(control.get_ref())) {
            Ok(Ok(Some((message, descriptors)))) => return Ok((message, descriptors.into_iter().next())),
            Ok(Ok(None)) => return Err(SlotError::Died),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Err(SlotError::Died),
            Ok(Err(error)) => return Err(error.into()),
            Err(_would_block) => {}
        }
    }
}
