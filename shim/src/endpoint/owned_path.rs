//! The path of a socket that this process serves, and its removal when the process ends.

use std::{
    ffi::OsStr,
    fs,
    io::{self, ErrorKind},
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::PathBuf,
};

use rustix::net::SocketAddrUnix;

use super::{error::EndpointError, listener::Lock};

/// A path that this process removes when it ends, with the identity of its file.
#[derive(Debug)]
pub struct OwnedPath {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnedPath {
    /// The path that a socket is bound to; `None` if it has none.
    pub fn of(socket: impl AsFd) -> Option<Self> {
        let address = SocketAddrUnix::try_from(rustix::net::getsockname(socket).ok()?).ok()?;
        Self::at(PathBuf::from(OsStr::from_bytes(address.path_bytes()?)))
    }

    pub fn at(path: PathBuf) -> Option<Self> {
        let found = fs::symlink_metadata(&path).ok()?;
        Some(Self { device: found.dev(), inode: found.ino(), path })
    }

    /// Removes the path, unless another process has bound it meanwhile. Under the lock, so that nobody replaces it between the check and the
    /// removal.
    pub fn remove(self) -> Result<(), EndpointError> {
        let _lock = Lock::take(&self.path)?;
        self.remove_if_ours().map_err(|source| EndpointError::Remove { path: self.path, source })
    }

    fn remove_if_ours(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => fs::remove_file(&self.path),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
