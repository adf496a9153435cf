//! One round of `poll`, and non-blocking descriptors.

use std::{io, os::fd::BorrowedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{FileType, OFlags},
    io::Errno,
};

#[derive(Default)]
pub(super) struct WaitSet<'fd>(Vec<PollFd<'fd>>);

impl<'fd> WaitSet<'fd> {
    /// Returns the index of the descriptor's events after [`Self::wait`].
    pub fn add(&mut self, descriptor: BorrowedFd<'fd>, events: PollFlags) -> usize {
        self.0.push(PollFd::from_borrowed_fd(descriptor, events));
        self.0.len() - 1
    }

    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.and_then(|duration| Timespec::try_from(duration).ok());
        match rustix::event::poll(&mut self.0, timeout.as_ref()) {
            Ok(_) => Ok(()),
            // Interrupted: this round has no events.
            Err(Errno::INTR) => {
                self.0.iter_mut().for_each(PollFd::clear_revents);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub fn events(&self, at: usize) -> PollFlags {
        self.0[at].revents()
    }

    pub fn is_ready(&self, at: Option<usize>) -> bool {
        at.is_some_and(|at| !self.events(at).is_empty())
    }
}

/// Makes a pipe or socket non-blocking, and restores its flags when dropped, because other processes may share the open file. Files and
/// terminals are not changed.
pub(super) struct NonBlocking<'fd>(Option<(BorrowedFd<'fd>, OFlags)>);

impl<'fd> NonBlocking<'fd> {
    pub fn set(descriptor: BorrowedFd<'fd>) -> io::Result<Self> {
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
