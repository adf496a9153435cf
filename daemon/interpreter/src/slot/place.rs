//! Puts files into a slot's workspace before its program runs, while nobody else is there, and recognises them afterwards.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, Stat, fchmod, fstat, mkdirat, openat};
use rustix::io::Errno;

/// What changes with every write to a file, and what no program can set back: its inode and the time of its last change. Only what is
/// written through a mapping may leave it as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    changed: (i64, i64),
    size: i64,
}

impl Stamp {
    pub fn of(status: &Stat) -> Self {
        Stamp { inode: status.st_ino, changed: (status.st_ctime, status.st_ctime_nsec as i64), size: status.st_size }
    }
}

/// Writes all of `content` to `path` below the workspace, whose directories are made.
pub fn put(workspace: &OwnedFd, path: &Path, mut content: impl Read) -> io::Result<Stamp> {
    let mut directory = workspace.as_fd().try_clone_to_owned()?;
    let mut parts = path.components().peekable();
    while let Some(Component::Normal(name)) = parts.next() {
        if parts.peek().is_none() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(&directory, name, flags, Mode::from_raw_mode(0o644))?);
            // Whatever this process masks.
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
