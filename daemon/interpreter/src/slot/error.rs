//! Why a slot could not be built, or did not stay.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::channel::{Failure, SlotMessage};
use crate::sandbox::refused;

/// Longest wait for a slot to be built, and for a killed one to end. Both take milliseconds on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("the slot was killed from outside, or memory ran out")]
    Died,
    #[error("the spawner of slots was killed; it is started again with the next execution")]
    SpawnerGone(#[source] io::Error),
    /// A resource of the machine is used up. A new workshop would not help.
    #[error("{0}: nothing was run, try again when less runs on this machine")]
    Short(String),
    #[error("a slot was not ready within {DEADLINE:?}: the machine is overloaded")]
    Slow,
    #[error(
        "the program was killed, but some of its processes were still there after {DEADLINE:?}: its output is lost"
    )]
    NotGone,
    #[error("cannot communicate with a slot: {0}")]
    Io(#[from] io::Error),
}

impl SlotError {
    /// Turns an error by which the kernel reports a used-up resource into [`SlotError::Short`].
    pub fn or_short(self) -> Self {
        // TOOMANYREFS: the user has too many descriptors in messages that nobody has received yet.
        const SHORT: [Errno; 8] = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::AGAIN,
            Errno::NOBUFS,
            Errno::NOSPC,
            Errno::USERS,
            Errno::TOOMANYREFS,
        ];
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

    /// The error of a message that came instead of the expected one.
    pub fn of_message(message: SlotMessage) -> Self {
        match message {
            SlotMessage::Failed(failure) => failure.into(),
            SlotMessage::Refused { step, error } => {
                Failure::Isolation(refused(&step, &io::Error::from_raw_os_error(error))).into()
            }
            _ => SlotError::Died,
        }
    }

    /// Whether the other end of a socket has been closed.
    pub fn is_hang_up(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_up_resource_is_no_fault_of_the_slot() {
        let error = |errno: Errno| SlotError::Io(errno.into()).or_short();
        for errno in [Errno::MFILE, Errno::TOOMANYREFS, Errno::NOMEM] {
            assert!(matches!(error(errno), SlotError::Short(_)), "{errno}");
        }
        assert!(matches!(error(Errno::PIPE), SlotError::Io(_)));
    }
}
