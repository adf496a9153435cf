//! Binds and connects a socket by its path, under the lock next to it.

use std::{
    fs,
    io::{self, ErrorKind},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _},
            net::UnixStream,
        },
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use interprocess::{
    local_socket::{GenericFilePath, ListenerOptions, ToFsName as _},
    os::unix::{local_socket::ListenerOptionsExt as _, uds_local_socket::Listener},
};
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt},
};

use super::{
    error::EndpointError,
    peer::{peer_is_this_user, user},
};

/// `sockaddr_un` has 108 bytes for a path, one of them for the final NUL.
const PATH_BYTES: usize = 107;
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
const LOCK_INTERVAL: Duration = Duration::from_millis(2);
/// How long `connect` waits for a listener with a full backlog.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Binds `path` as a socket of this user (0600) under its lock. Replaces a stale socket; refuses a file, a symbolic link, a socket of
/// another user, and one on which a process listens. Closing the descriptor does not remove the path.
pub fn bind(path: &Path) -> Result<OwnedFd, EndpointError> {
    let lock = Lock::take(path)?;
    bind_under(&lock, path)
}

/// The lock next to a socket, held while deciding who serves it.
pub(super) struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] OwnedFd);

impl Lock {
    pub fn take(socket: &Path) -> Result<Self, EndpointError> {
        check_length(socket)?;
        let path = socket.with_extension("lock");
        let failed = |error: Errno| EndpointError::Lock { path: path.clone(), source: error.into() };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let started = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(Errno::WOULDBLOCK | Errno::INTR) if started.elapsed() < LOCK_DEADLINE => {
                    // `flock` has no deadline, so it is polled.
                    thread::sleep(LOCK_INTERVAL);
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    return Err(EndpointError::LockHeld { path, seconds: LOCK_DEADLINE.as_secs() });
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

pub(super) fn bind_under(_lock: &Lock, path: &Path) -> Result<OwnedFd, EndpointError> {
    let failed = |source| EndpointError::Bind { path: path.to_owned(), source };
    if is_our_socket(path)? {
        if connect(path)?.is_some() {
            return Err(EndpointError::AlreadyServed { path: path.to_owned() });
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let name = path.to_fs_name::<GenericFilePath>().map_err(failed)?;
    // The mode is set before the name appears. The name stays when this descriptor is closed, because another process serves it then.
    let options = ListenerOptions::new().name(name).mode(0o600).reclaim_name(false);
    Ok(options.create_sync_as::<Listener>().map_err(failed)?.into())
}

/// Removes this user's socket at `path` if a killed process has left it. Returns whether it did.
pub fn remove_stale(path: &Path) -> Result<bool, EndpointError> {
    if !is_our_socket(path)? {
        return Ok(false);
    }
    let _lock = Lock::take(path)?;
    if connect(path)?.is_some() {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(EndpointError::Remove { path: path.to_owned(), source }),
    }
}

/// Connects within a deadline; `None` if nobody listens. Refuses a listener of another user.
pub fn connect(path: &Path) -> Result<Option<UnixStream>, EndpointError> {
    check_length(path)?;
    let stream = match open_stream(path) {
        Ok(stream) => stream,
        Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
        Err(error) => {
            is_our_socket(path)?;
            let source = match error {
                Errno::AGAIN => io::Error::new(ErrorKind::TimedOut, "nobody accepted within 5 s"),
                _ => error.into(),
            };
            return Err(EndpointError::Connect { path: path.to_owned(), source });
        }
    };
    match peer_is_this_user(&stream) {
        Ok(true) => Ok(Some(stream)),
        Ok(false) => Err(refused(path, "is served by another user", "set XDG_RUNTIME_DIR to a directory of yours")),
        Err(source) => Err(EndpointError::Connect { path: path.to_owned(), source }),
    }
}

fn open_stream(path: &Path) -> rustix::io::Result<UnixStream> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The kernel bounds `connect` by SO_SNDTIMEO; without it a full backlog blocks for ever.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(CONNECT_DEADLINE))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, None)?;
    Ok(socket.into())
}

/// False if there is nothing; everything but a socket of this user is refused.
fn is_our_socket(path: &Path) -> Result<bool, EndpointError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(EndpointError::Bind { path: path.to_owned(), source }),
    };
    if found.file_type().is_symlink() {
        return Err(refused(path, "is a symbolic link, not a socket", "remove it"));
    }
    if !found.file_type().is_socket() {
        return Err(refused(path, "is not a socket", "move it away"));
    }
    if found.uid() != user() {
        let reason = format!("belongs to another user, {}, not to {}", found.uid(), user());
        return Err(refused(path, &reason, "set XDG_RUNTIME_DIR to a directory of yours"));
    }
    Ok(true)
}

fn refused(path: &Path, reason: &str, remedy: &str) -> EndpointError {
    EndpointError::Refused { path: path.to_owned(), reason: reason.to_owned(), remedy: remedy.to_owned() }
}

fn check_length(path: &Path) -> Result<(), EndpointError> {
    if path.as_os_str().len() > PATH_BYTES {
        return Err(EndpointError::PathTooLong { path: path.to_owned(), limit: PATH_BYTES });
    }
    Ok(())
}
