//! Carries bytes between the client and the daemon, unchanged, in one thread that waits in `poll`.
//! Leaves out what the bytes mean, and connecting: it is given everything that it reads and writes.

use std::{
    io::{self, Write as _},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{FileType, OFlags},
    io::Errno,
    process::PidfdFlags,
};

mod direction;
use direction::Direction;

/// How long the rest may stand still once one side has ended. The daemon closes within about a second of our end of
/// input; what is then left is a reader that no longer reads.
const STANDSTILL: Duration = Duration::from_secs(5);

/// Which event ended a relay that ended as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client closed our input, and the daemon's last answers are delivered (or stood still for 5 s).
    ClientFinished,
    /// The client closed our output: nothing can be delivered any more.
    ClientGone,
    /// The process that launched us is gone, whoever else still holds its pipes.
    ParentGone,
    /// The daemon closed while the client was still there; all that it sent has been delivered.
    DaemonClosed,
}

#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("reading from the client failed ({0}); start the client again")]
    Input(#[source] io::Error),
    #[error("writing to the client failed ({0}); start the client again")]
    Output(#[source] io::Error),
    #[error("the connection to the daemon failed ({0}); start the client again")]
    Daemon(#[source] io::Error),
    #[error("waiting for the client and the daemon failed ({0}); start the client again")]
    Wait(#[source] io::Error),
}

/// The process that launched us, as a descriptor that becomes readable when it ends; `None` where the kernel has none.
///
/// `PR_SET_PDEATHSIG` would be no substitute: it fires when the *thread* that launched us ends, and clients launch
/// from short-lived worker threads.
pub fn parent() -> Option<OwnedFd> {
    rustix::process::pidfd_open(rustix::process::getppid()?, PidfdFlags::empty()).ok()
}

/// Relays until one of the [`Ended`] events. `input` and `output` do not block meanwhile where they are pipes or sockets.
pub fn run(
    input: impl AsFd,
    output: impl AsFd,
    daemon: UnixStream,
    parent: Option<OwnedFd>,
) -> Result<Ended, RelayError> {
    let (input, output) = (input.as_fd(), output.as_fd());
    daemon.set_nonblocking(true).map_err(RelayError::Daemon)?;
    // Dropped in reverse, which matters where both are the same socket: the second one saved the first one's change.
    let _input_flags = NonBlocking::set(input).map_err(RelayError::Input)?;
    let _output_flags = NonBlocking::set(output).map_err(RelayError::Output)?;

    let mut requests = Direction::default();
    let mut answers = Direction::default();
    let mut said_finished = false;
    let mut standing_since: Option<Instant> = None;
    let mut waits = WaitSet::default();
    loop {
        let timeout = standing_since.map(|since| STANDSTILL.saturating_sub(since.elapsed()));
        if timeout == Some(Duration::ZERO) {
            return Ok(outcome(&requests));
        }

        // What cannot be used now is left out: a hang-up is always reported and would make the loop spin.
        waits.clear();
        let output_at = waits.add(output, if answers.has_bytes() { PollFlags::OUT } else { PollFlags::empty() });
        let input_at = requests.wants_bytes().then(|| waits.add(input, PollFlags::IN));
        let mut daemon_events = PollFlags::empty();
        daemon_events.set(PollFlags::IN, answers.wants_bytes());
        daemon_events.set(PollFlags::OUT, requests.has_bytes());
        let daemon_at = (!daemon_events.is_empty()).then(|| waits.add(daemon.as_fd(), daemon_events));
        let parent_at = parent.as_ref().map(|process| waits.add(process.as_fd(), PollFlags::IN));
        waits.wait(timeout).map_err(RelayError::Wait)?;

        if waits.is_ready(parent_at) {
            return Ok(Ended::ParentGone);
        }
        if waits.events(output_at).intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            return Ok(Ended::ClientGone);
        }
        if waits.is_ready(input_at) {
            requests.fill(input).map_err(RelayError::Input)?;
        }
        if waits.is_ready(daemon_at) && answers.wants_bytes() {
            answers.fill(&daemon).map_err(RelayError::Daemon)?;
        }

        // Tried without asking `poll` first: usually there is room, and a round is saved.
        let sent = requests.drain(|bytes| (&daemon).write(bytes)).map_err(RelayError::Daemon)?;
        let delivered = answers
            .drain(|bytes| rustix::io::write(output, bytes).map_err(io::Error::from))
            .map_err(RelayError::Output)?;
        if answers.is_broken() {
            return Ok(Ended::ClientGone);
        }
        if requests.is_finished() && !said_finished {
            said_finished = true;
            // Fails only when the daemon has gone, which the next read reports.
            let _ = daemon.shutdown(Shutdown::Write);
        }
        if answers.is_finished() {
            return Ok(outcome(&requests));
        }
        let ending = requests.source_ended() || answers.source_ended() || requests.is_broken();
        if ending && (standing_since.is_none() || sent + delivered > 0) {
            standing_since = Some(Instant::now());
        }
    }
}

fn outcome(requests: &Direction) -> Ended {
    if requests.source_ended() { Ended::ClientFinished } else { Ended::DaemonClosed }
}

/// The descriptors of one round of `poll`, kept from round to round so that none allocates.
#[derive(Default)]
struct WaitSet<'fd>(Vec<PollFd<'fd>>);

impl<'fd> WaitSet<'fd> {
    fn clear(&mut self) {
        self.0.clear();
    }

    fn add(&mut self, descriptor: BorrowedFd<'fd>, events: PollFlags) -> usize {
        self.0.push(PollFd::from_borrowed_fd(descriptor, events));
        self.0.len() - 1
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.and_then(|duration| Timespec::try_from(duration).ok());
        match rustix::event::poll(&mut self.0, timeout.as_ref()) {
            Ok(_) => Ok(()),
            // The round then has no events, and the next one waits on.
            Err(Errno::INTR) => {
                self.0.iter_mut().for_each(PollFd::clear_revents);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn events(&self, at: usize) -> PollFlags {
        self.0[at].revents()
    }

    fn is_ready(&self, at: Option<usize>) -> bool {
        at.is_some_and(|at| !self.events(at).is_empty())
    }
}

/// Makes a pipe or socket non-blocking, and puts it back at the end: the open file may be shared with a shell around us
/// or with our own stderr. Files and terminals are left as they are.
struct NonBlocking<'fd>(Option<(BorrowedFd<'fd>, OFlags)>);

impl<'fd> NonBlocking<'fd> {
    fn set(descriptor: BorrowedFd<'fd>) -> io::Result<Self> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(descriptor)?.st_mode);
        if !matches!(kind, FileType::Fifo | FileType::Socket) {
            return Ok(Self(None));
        }
        let flags = rustix::fs::fcntl_getfl(descriptor)?;
        rustix::fs::fcntl_setfl(descriptor, flags | OFlags::NONBLOCK)?;
        Ok(Self(Some((descriptor, flags))))
    }
}

impl Drop for NonBlocking<'_> {
    fn drop(&mut self) {
        if let Some((descriptor, flags)) = self.0 {
            let _ = rustix::fs::fcntl_setfl(descriptor, flags);
        }
    }
}
