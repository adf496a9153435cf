//! Writes files into a slot's workspace before its program runs, and tells afterwards whether they have changed.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, Stat, fchmod, fstat, mkdirat, openat};
use rustix::io::Errno;

/// A file's inode, size and change time (ctime). Every write changes it, and no program can set it back. The one exception is a write
/// through a memory mapping, which may leave it as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    changed: (i64, i64),
    size: i64,
}

impl Stamp {
    /// When the file last changed: seconds and nanoseconds.
    pub fn changed(self) -> (i64, i64) {
        self.changed
    }

    pub fn of(status: &Stat) -> Self {
        Stamp { inode: status.st_ino, changed: (status.st_ctime, status.st_ctime_nsec as i64), size: status.st_size }
    }
}

/// Writes `content` to the relative `path` below the workspace, and creates its directories.
pub fn put(workspace: &OwnedFd, path: &Path, mut content: impl Read) -> io::Result<Stamp> {
    let mut directory = workspace.as_fd().try_clone_to_owned()?;
    let mut parts = path.components().peekable();
    while let Some(Component::Normal(name)) = parts.next() {
        if parts.peek().is_none() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(&directory, name, flags, Mode::from_raw_mode(0o644))?);
            // Independent of this process's umask.
            fchmod(&file, Mode::from_raw_mode(0o644))?;
            io::copy(&mut content, &mut file)?;
            return Ok(Stamp::of(&fstat(&file)?));
        }
        match mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        directory = openat(&directory, name, flags, Mode::empty())?;
        fchmod(&directory, Mode::from_raw_mode(0o755))?;
    }
    Err(io::ErrorKind::InvalidInput.into())
}
