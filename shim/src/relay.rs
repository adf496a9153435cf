//! Carries frames between the client and the daemon, unchanged, in one thread that waits in `poll`; and when the daemon goes, from one
//! daemon to the next. Leaves out connecting: it is given everything that it reads and writes, and how to get another daemon.

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
mod session;

use crate::frame::Scanner;
use direction::{Direction, Frame, Verdict};
use session::{Session, error};

/// How long the rest may stand still once one side has ended. The daemon closes within about a second of our end of
/// input; what is then left is a reader that no longer reads.
const STANDSTILL: Duration = Duration::from_secs(5);
/// How long a daemon that takes nothing more may go on to answer: longer than it has for that when it is stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(60);
/// After a daemon could not be reached, requests are refused for so long before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// A daemon that was about to leave when it was reached has said nothing; so many one after the other are a fault that stays.
const SILENT_DAEMONS: u32 = 5;
/// After so long without a word from either side the shim rests.
const REST_AFTER: Duration = Duration::from_secs(1);
const GONE: &str = "The interpreter daemon went away before it answered. The code may or may not have run, and it was not sent again; \
    the next call starts the daemon anew.";
const CUT: &str =
    "The interpreter daemon went away while the request was sent to it. The code was not run; send it again.";

/// Which event ended a relay that ended as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client closed our input, and the daemon's last answers are delivered (or stood still for 5 s).
    ClientFinished,
    /// The client closed our output: nothing can be delivered any more.
    ClientGone,
    /// The process that launched us is gone, whoever else still holds its pipes.
    ParentGone,
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

/// Relays until one of the [`Ended`] events. `input` and `output` do not block meanwhile where they are pipes or sockets. When the daemon
/// is gone and the client has something to say, `reach` is asked for another one, or for the reason why there is none. `why` tells where the
/// reason is for the end of a daemon. `rest` is called when nothing has happened for a while.
pub fn run(
    input: impl AsFd,
    output: impl AsFd,
    daemon: UnixStream,
    parent: Option<OwnedFd>,
    mut reach: impl FnMut() -> Result<UnixStream, String>,
    why: impl Fn() -> String,
    rest: impl Fn(),
) -> Result<Ended, RelayError> {
    let (input, output) = (input.as_fd(), output.as_fd());
    daemon.set_nonblocking(true).map_err(RelayError::Daemon)?;
    // Dropped in reverse, which matters where both are the same socket: the second one saved the first one's change.
    let _input_flags = NonBlocking::set(input).map_err(RelayError::Input)?;
    let _output_flags = NonBlocking::set(output).map_err(RelayError::Output)?;

    let mut daemon = Some(daemon);
    let mut requests = Direction::new();
    let mut answers = Direction::new();
    let mut session = Session::default();
    let mut unreachable: Option<(Instant, String)> = None;
    // Daemons in a row that have ended without a word.
    let mut silent = 0;
    let mut said_finished = false;
    let mut standing_since: Option<Instant> = None;
    let mut rests = false;
    loop {
        let patience = if requests.source_ended() { STANDSTILL } else { LAST_ANSWERS };
        let timeout = standing_since.map(|since| patience.saturating_sub(since.elapsed()));
        if timeout == Some(Duration::ZERO) {
            if requests.source_ended() {
                return Ok(Ended::ClientFinished);
            }
            daemon = None;
        }

        // What cannot be used now is left out: a hang-up is always reported and would make the loop spin.
        let mut waits = WaitSet::default();
        let output_at = waits.add(output, if answers.has_bytes() { PollFlags::OUT } else { PollFlags::empty() });
        let input_at = requests.wants_bytes().then(|| waits.add(input, PollFlags::IN));
        let mut daemon_events = PollFlags::empty();
        daemon_events.set(PollFlags::IN, answers.wants_bytes());
        daemon_events.set(PollFlags::OUT, requests.has_bytes() && !requests.is_broken());
        let daemon_at = daemon
            .as_ref()
            .filter(|_| !daemon_events.is_empty())
            .map(|daemon| waits.add(daemon.as_fd(), daemon_events));
        let parent_at = parent.as_ref().map(|process| waits.add(process.as_fd(), PollFlags::IN));
        // Without a daemon, and with something for the next one to do, nothing needs to happen before it is reached.
        let is_wanted = daemon.is_none() && (requests.has_bytes() || session.is_waiting());
        let timeout_now = match (is_wanted, timeout) {
            (true, _) => Some(Duration::ZERO),
            (false, None) if !rests => Some(REST_AFTER),
            (false, timeout) => timeout,
        };
        let nothing_happened = !waits.wait(timeout_now).map_err(RelayError::Wait)?;
        if nothing_happened && timeout_now == Some(REST_AFTER) {
            rest();
        }
        rests = nothing_happened;
        let (parent_is_gone, output_events) = (waits.is_ready(parent_at), waits.events(output_at));
        let (input_is_ready, daemon_is_ready) = (waits.is_ready(input_at), waits.is_ready(daemon_at));

        if parent_is_gone {
            return Ok(Ended::ParentGone);
        }
        if output_events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            return Ok(Ended::ClientGone);
        }
        if input_is_ready {
            let mut cut = Vec::new();
            let ended = |scanner: &Scanner, frame: Frame<'_>| {
                match (&frame, scanner.id(), scanner.method()) {
                    (Frame::Cut, Some(id), Some(_)) => cut.extend(error(id, CUT)),
                    (Frame::Cut, ..) => {}
                    _ => session.sent(scanner, &frame),
                }
                Verdict::PassOn
            };
            requests.fill(input, ended).map_err(RelayError::Input)?;
            answers.insert(&cut);
            if requests.source_ended() {
                requests.pass_on_rest();
            }
        }
        if let Some(stream) = daemon.as_ref().filter(|_| daemon_is_ready && answers.wants_bytes()) {
            let ended = |scanner: &_, _: Frame<'_>| match session.received(scanner) {
                true => Verdict::PassOn,
                false => Verdict::Drop,
            };
            if answers.fill(stream, ended).map_err(RelayError::Daemon)? > 0 {
                silent = 0;
            }
        }

        if daemon.is_none() && (requests.has_bytes() || session.is_waiting()) {
            let tried = unreachable.take().filter(|(when, _)| when.elapsed() < PAUSE);
            let reached = match tried {
                Some((when, reason)) => Err((when, reason)),
                None => reach().map_err(|reason| (Instant::now(), reason)),
            };
            match reached {
                Ok(stream) => {
                    stream.set_nonblocking(true).map_err(RelayError::Daemon)?;
                    let waiting: Vec<Vec<u8>> = requests.waiting().map(<[u8]>::to_vec).collect();
                    let (again, news) = session.renewed(|text| waiting.iter().any(|waiting| waiting == text));
                    requests.precede(&again);
                    answers.insert(news);
                    (daemon, said_finished) = (Some(stream), false);
                }
                Err((when, reason)) => {
                    for id in session.given_up() {
                        answers.insert(&error(&id, &reason));
                    }
                    requests.clear();
                    unreachable = Some((when, reason));
                }
            }
        }

        // Tried without asking `poll` first: usually there is room, and a round is saved.
        let mut passed = 0;
        if let Some(mut daemon) = daemon.as_ref().filter(|_| !requests.is_broken()) {
            passed += requests.drain(|bytes| daemon.write(bytes)).map_err(RelayError::Daemon)?;
        }
        passed += answers
            .drain(|bytes| rustix::io::write(output, bytes).map_err(io::Error::from))
            .map_err(RelayError::Output)?;
        if answers.is_broken() {
            return Ok(Ended::ClientGone);
        }
        if requests.is_finished() && !said_finished {
            said_finished = true;
            // Fails only when the daemon has gone, which the next read reports.
            let _ = daemon.as_ref().map(|daemon| daemon.shutdown(Shutdown::Write));
        }
        if answers.source_ended() || daemon.is_none() {
            if requests.source_ended() {
                answers.pass_on_rest();
                if answers.is_finished() || daemon.is_none() && !answers.has_bytes() {
                    return Ok(Ended::ClientFinished);
                }
            } else if daemon.take().is_some() || timeout == Some(Duration::ZERO) {
                silent += 1;
                if silent > SILENT_DAEMONS {
                    let reason = format!(
                        "The interpreter daemon ended without a word, {}. The code may or may not have run.",
                        why()
                    );
                    unreachable = Some((Instant::now(), reason));
                }
                requests.change_sink();
                answers.change_source();
                for id in session.lost(requests.waiting()) {
                    answers.insert(&error(&id, GONE));
                }
                standing_since = None;
            }
        }
        let ending = requests.source_ended() || requests.is_broken();
        if ending && (standing_since.is_none() || passed > 0) {
            standing_since = Some(Instant::now());
        }
    }
}

/// The descriptors of one round of `poll`.
#[derive(Default)]
struct WaitSet<'fd>(Vec<PollFd<'fd>>);

impl<'fd> WaitSet<'fd> {
    fn add(&mut self, descriptor: BorrowedFd<'fd>, events: PollFlags) -> usize {
        self.0.push(PollFd::from_borrowed_fd(descriptor, events));
        self.0.len() - 1
    }

    /// Whether there is an event.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.and_then(|duration| Timespec::try_from(duration).ok());
        match rustix::event::poll(&mut self.0, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            // The round then has no events, and the next one waits on.
            Err(Errno::INTR) => {
                self.0.iter_mut().for_each(PollFd::clear_revents);
                Ok(true)
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
