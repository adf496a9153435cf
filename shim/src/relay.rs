//! Relays frames between the client and the daemon, unchanged, in one thread that waits in `poll`. When the daemon goes, the relay goes on
//! with the next daemon.

use std::{
    io::{self, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::{event::PollFlags, process::PidfdFlags};

mod direction;
mod link;
mod session;
mod wait_set;

use crate::frame::Scanner;
use direction::{Direction, Frame, Passed, Verdict};
use link::Link;
use session::{Session, error};
use wait_set::{NonBlocking, WaitSet};

/// How long requests are refused after a daemon could not be reached, before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// How many daemons in a row may end without sending anything, as a daemon does that was about to exit. After that, requests are refused.
const SILENT_DAEMONS: u32 = 5;
const GONE: &str = "The interpreter daemon went away before it answered. The code may or may not have run, and it was not sent again; \
    the next call starts the daemon anew.";
const GIVEN_UP: &str = "The interpreter daemon is stopping and has not answered in time. The code may or may not have run, and it was not sent \
    again; the next call goes to another daemon.";
const CUT: &str =
    "The interpreter daemon went away while the request was being sent. The code was not run; send it again.";

/// Which event ended the relay normally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client closed our input, and has all its answers (or did not read them for 5 s).
    ClientFinished,
    /// The client closed our output.
    ClientGone,
    /// The process that launched us is gone, even if another one still holds its pipes.
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

/// The relay's deadlines.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long the client's next frame waits for a daemon that accepts nothing more but still answers.
    pub last_answers: Duration,
    /// How long the relay waits for any byte to move, once the client has closed its input and nothing is expected from the daemon. Such a
    /// client does not read any more.
    pub standstill: Duration,
}

impl Default for Patience {
    /// Shorter than the 60 s after which clients give up a request.
    fn default() -> Self {
        Self { last_answers: Duration::from_secs(45), standstill: Duration::from_secs(5) }
    }
}

/// Connects to daemons, and diagnoses one that does not answer. Each reason is a sentence for the client.
pub trait Daemons {
    /// Connects to the daemon, and starts it if needed.
    fn reach(&self) -> Result<UnixStream, String>;
    /// Why one daemon after the other ended without sending anything.
    fn why_ended(&self) -> String;
    /// Why a daemon will not answer that was reached and has sent nothing for `waited`; none if it still may.
    fn why_silent(&self, waited: Duration) -> Option<String>;
}

/// The process that launched us, as a descriptor that becomes readable when it ends; `None` if the kernel has no pidfds.
///
/// `PR_SET_PDEATHSIG` would be no substitute: it fires when the *thread* that launched us ends, and clients launch
/// from short-lived worker threads.
pub fn parent() -> Option<OwnedFd> {
    rustix::process::pidfd_open(rustix::process::getppid()?, PidfdFlags::empty()).ok()
}

/// Relays until one of the [`Ended`] events, starting with the daemon `first`. Pipes and sockets are non-blocking meanwhile.
pub fn run(
    input: impl AsFd,
    output: impl AsFd,
    first: UnixStream,
    parent: Option<OwnedFd>,
    daemons: impl Daemons,
    patience: Patience,
) -> Result<Ended, RelayError> {
    let (input, output) = (input.as_fd(), output.as_fd());
    // Dropped in reverse order. If input and output are one socket, the second guard saved the flags that the first had changed, so it must
    // restore them first.
    let _input_flags = NonBlocking::set(input).map_err(RelayError::Input)?;
    let _output_flags = NonBlocking::set(output).map_err(RelayError::Output)?;
    let mut relay = Relay {
        input,
        output,
        parent,
        daemons,
        patience,
        link: Link::up(first).map_err(RelayError::Daemon)?,
        requests: Direction::new(),
        answers: Direction::new(),
        session: Session::default(),
        unreachable: None,
        silent: 0,
        moved: Instant::now(),
    };
    loop {
        let ready = relay.wait()?;
        if let Some(ended) = ready.ended {
            return Ok(ended);
        }
        if ready.input {
            relay.read_from_client()?;
        }
        if ready.daemon {
            relay.read_from_daemon()?;
        }
        relay.give_up_on_the_daemon();
        if relay.wants_a_daemon() {
            relay.reach_a_daemon()?;
        }
        if let Some(ended) = relay.write()? {
            return Ok(ended);
        }
    }
}

struct Relay<'io, D> {
    input: BorrowedFd<'io>,
    output: BorrowedFd<'io>,
    parent: Option<OwnedFd>,
    daemons: D,
    patience: Patience,
    link: Link,
    requests: Direction,
    answers: Direction,
    session: Session,
    /// When a daemon could not be reached, and why.
    unreachable: Option<(Instant, String)>,
    /// How many daemons in a row ended without sending anything.
    silent: u32,
    /// When a byte last moved.
    moved: Instant,
}

/// The events of one `poll`.
struct Ready {
    input: bool,
    daemon: bool,
    ended: Option<Ended>,
}

impl<D: Daemons> Relay<'_, D> {
    fn wait(&mut self) -> Result<Ready, RelayError> {
        let timeout = self.timeout(Instant::now());
        let mut waits = WaitSet::default();
        // Descriptors that are not needed now are left out: `poll` always reports a hang-up, which would make the loop spin.
        let output_events = if self.answers.has_bytes() { PollFlags::OUT } else { PollFlags::empty() };
        let output_at = waits.add(self.output, output_events);
        let input_at = self.requests.wants_bytes().then(|| waits.add(self.input, PollFlags::IN));
        let mut daemon_events = PollFlags::empty();
        daemon_events.set(PollFlags::IN, self.answers.wants_bytes());
        daemon_events.set(PollFlags::OUT, self.requests.has_bytes() && self.link.is_up());
        let daemon = self.link.daemon().filter(|_| !daemon_events.is_empty());
        let daemon_at = daemon.map(|daemon| waits.add(daemon.stream.as_fd(), daemon_events));
        let parent_at = self.parent.as_ref().map(|process| waits.add(process.as_fd(), PollFlags::IN));
        waits.wait(timeout).map_err(RelayError::Wait)?;
        let ended = if waits.is_ready(parent_at) {
            Some(Ended::ParentGone)
        } else if waits.events(output_at).intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            Some(Ended::ClientGone)
        } else {
            None
        };
        let daemon = waits.is_ready(daemon_at) && self.answers.wants_bytes();
        Ok(Ready { input: waits.is_ready(input_at), daemon, ended })
    }

    /// The time until the next deadline; none if there is none.
    fn timeout(&mut self, now: Instant) -> Option<Duration> {
        if self.wants_a_daemon() {
            return Some(Duration::ZERO);
        }
        let waits = self.session.is_waiting();
        let asking = self.link.daemon_mut().and_then(|daemon| daemon.until_asking(waits, now));
        let left = |deadline: Option<Instant>| deadline.map(|deadline| deadline.saturating_duration_since(now));
        [asking, left(self.last_answers_deadline()), left(self.standstill_deadline())].into_iter().flatten().min()
    }

    /// Until when the relay waits for a daemon that accepts nothing more.
    fn last_answers_deadline(&self) -> Option<Instant> {
        match &self.link {
            Link::Finishing { since, .. } => since.map(|since| since + self.patience.last_answers),
            Link::Up(_) | Link::Gone => None,
        }
    }

    /// Until when a byte has to move, once the client has closed its input.
    fn standstill_deadline(&self) -> Option<Instant> {
        let is_owed = self.session.is_waiting() && !self.answers.has_bytes();
        (self.requests.source_ended() && !is_owed).then(|| self.moved + self.patience.standstill)
    }

    fn read_from_client(&mut self) -> Result<(), RelayError> {
        let daemon_listens = !matches!(self.link, Link::Finishing { .. });
        let session = &mut self.session;
        let mut cut = Vec::new();
        let mut ended = |scanner: &Scanner, frame: Frame<'_>| {
            match (&frame, scanner.id()) {
                (Frame::Cut, Some(id)) if scanner.has_method() => cut.extend(error(id, CUT)),
                (Frame::Cut, _) => {}
                _ => session.sent(scanner, &frame, daemon_listens),
            }
            Verdict::PassOn
        };
        self.requests.fill(self.input, &mut ended).map_err(RelayError::Input)?;
        if self.requests.source_ended() {
            self.requests.end_last_frame(ended);
            self.moved = Instant::now();
        }
        self.answers.insert(&cut);
        Ok(())
    }

    fn read_from_daemon(&mut self) -> Result<(), RelayError> {
        let Some(daemon) = self.link.daemon_mut() else { return Ok(()) };
        let session = &mut self.session;
        let ended = |scanner: &Scanner, _: Frame<'_>| match session.received(scanner) {
            true => Verdict::PassOn,
            false => Verdict::Drop,
        };
        if self.answers.fill(&daemon.stream, ended).map_err(RelayError::Daemon)? > 0 {
            daemon.heard = true;
            self.silent = 0;
        }
        if self.answers.source_ended() {
            self.lose_daemon(GONE);
        }
        Ok(())
    }

    /// Gives up a daemon that will not answer, or does not need to.
    fn give_up_on_the_daemon(&mut self) {
        let now = Instant::now();
        if let Link::Finishing { since, .. } = &mut self.link {
            if self.requests.has_bytes() {
                since.get_or_insert(now);
            }
            if !self.session.is_owed_an_answer(self.requests.waiting()) {
                self.lose_daemon(GONE);
            } else if self.last_answers_deadline().is_some_and(|deadline| deadline <= now) {
                self.lose_daemon(GIVEN_UP);
            }
        }
        let waited = self.link.daemon_mut().and_then(|daemon| daemon.asks(now));
        if let Some(reason) = waited.and_then(|waited| self.daemons.why_silent(waited)) {
            self.lose_daemon(&reason);
            self.refuse(reason);
        }
    }

    /// The only way to lose a daemon. Requests that it accepted are answered with `reason`; frames that it did not accept wait.
    fn lose_daemon(&mut self, reason: &str) {
        let Some(daemon) = self.link.daemon() else { return };
        let was_silent = !daemon.heard;
        self.link = Link::Gone;
        self.requests.change_sink();
        let lost = self.session.lost(self.requests.waiting());
        match self.requests.source_ended() && lost.is_empty() {
            // The client gets everything that the daemon has sent.
            true => self.answers.pass_on_rest(),
            false => self.answers.change_source(),
        }
        for id in lost {
            self.answers.insert(&error(&id, reason));
        }
        self.moved = Instant::now();
        if was_silent {
            self.silent += 1;
            if self.silent > SILENT_DAEMONS {
                self.unreachable = Some((Instant::now(), self.daemons.why_ended()));
            }
        }
    }

    /// Whether there is work for the next daemon.
    fn wants_a_daemon(&self) -> bool {
        self.link.is_gone() && (self.requests.has_bytes() || self.session.is_waiting())
    }

    fn reach_a_daemon(&mut self) -> Result<(), RelayError> {
        if let Some((when, reason)) = self.unreachable.take()
            && when.elapsed() < PAUSE
        {
            self.refuse_since(when, reason);
            return Ok(());
        }
        match self.daemons.reach() {
            Ok(stream) => {
                self.link = Link::up(stream).map_err(RelayError::Daemon)?;
                self.answers.begin_source();
                let waiting: Vec<Vec<u8>> = self.requests.waiting().map(<[u8]>::to_vec).collect();
                let (again, news) = self.session.renewed(|text| waiting.iter().any(|waiting| waiting == text));
                self.requests.precede(&again);
                self.answers.insert(news);
            }
            Err(reason) => self.refuse(reason),
        }
        Ok(())
    }

    /// Answers every waiting request with `reason`, and further ones for a while.
    fn refuse(&mut self, reason: String) {
        self.refuse_since(Instant::now(), reason);
    }

    fn refuse_since(&mut self, when: Instant, reason: String) {
        for id in self.session.given_up() {
            self.answers.insert(&error(&id, &reason));
        }
        self.requests.clear();
        self.unreachable = Some((when, reason));
    }

    /// Written without asking `poll` first: usually there is room, which saves a round.
    fn write(&mut self) -> Result<Option<Ended>, RelayError> {
        let mut passed = 0;
        if let Link::Up(daemon) = &mut self.link {
            let written = self.requests.drain(|bytes| daemon.stream.write(bytes)).map_err(RelayError::Daemon)?;
            if self.requests.is_finished() {
                daemon.tell_end();
            }
            match written {
                Passed::Bytes(count) => passed += count,
                Passed::SinkClosed => self.link.finish(),
            }
        }
        let output = self.output;
        let written = self.answers.drain(|bytes| rustix::io::write(output, bytes).map_err(io::Error::from));
        match written.map_err(RelayError::Output)? {
            Passed::Bytes(count) => passed += count,
            Passed::SinkClosed => return Ok(Some(Ended::ClientGone)),
        }
        let now = Instant::now();
        if passed > 0 {
            self.moved = now;
        }
        let is_over =
            self.requests.source_ended() && self.link.is_gone() && !self.wants_a_daemon() && !self.answers.has_bytes();
        let stands_still = self.standstill_deadline().is_some_and(|deadline| deadline <= now);
        Ok((is_over || stands_still).then_some(Ended::ClientFinished))
    }
}
