//! The connection to the daemon.

use std::{
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// How long a request waits for a daemon that has sent nothing yet, before the service manager is asked why. Each further wait is twice as
/// long.
const FIRST_ASKING: Duration = Duration::from_secs(1);
const MOST_DOUBLINGS: u32 = 6;

pub(super) enum Link {
    /// The daemon accepts requests.
    Up(Daemon),
    /// The daemon accepts nothing more, but still answers. `since` is when a frame began to wait for the next daemon.
    Finishing {
        daemon: Daemon,
        since: Option<Instant>,
    },
    Gone,
}

pub(super) struct Daemon {
    pub stream: UnixStream,
    /// Whether it has sent anything.
    pub heard: bool,
    /// Since when a request waits for its first byte, and how often the service manager was asked.
    asked: Option<(Instant, u32)>,
    told_end: bool,
}

impl Link {
    pub fn up(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::Up(Daemon { stream, heard: false, asked: None, told_end: false }))
    }

    pub fn daemon(&self) -> Option<&Daemon> {
        match self {
            Self::Up(daemon) | Self::Finishing { daemon, .. } => Some(daemon),
            Self::Gone => None,
        }
    }

    pub fn daemon_mut(&mut self) -> Option<&mut Daemon> {
        match self {
            Self::Up(daemon) | Self::Finishing { daemon, .. } => Some(daemon),
            Self::Gone => None,
        }
    }

    /// The daemon has closed its reading side.
    pub fn finish(&mut self) {
        *self = match std::mem::replace(self, Self::Gone) {
            Self::Up(daemon) => Self::Finishing { daemon, since: None },
            other => other,
        };
    }

    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up(_))
    }

    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }
}

impl Daemon {
    /// Closes the sending direction once, because the client has closed its input.
    pub fn tell_end(&mut self) {
        if !std::mem::replace(&mut self.told_end, true) {
            // Fails only if the daemon is gone, which the next read reports.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    /// The time until the service manager has to be asked, if a request `waits` for the daemon's first byte.
    pub fn until_asking(&mut self, waits: bool, now: Instant) -> Option<Duration> {
        if self.heard || !waits {
            self.asked = None;
            return None;
        }
        let (since, times) = *self.asked.get_or_insert((now, 0));
        Some((since + asking_after(times)).saturating_duration_since(now))
    }

    /// How long a request has waited; none if it is too early to ask.
    pub fn asks(&mut self, now: Instant) -> Option<Duration> {
        let (since, times) = self.asked.as_mut()?;
        let waited = now.saturating_duration_since(*since);
        (waited >= asking_after(*times)).then(|| {
            *times += 1;
            waited
        })
    }
}

fn asking_after(times: u32) -> Duration {
    FIRST_ASKING * 2_u32.pow(times.min(MOST_DOUBLINGS))
}
