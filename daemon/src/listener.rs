//! The socket on which clients arrive: inherited from systemd or from whoever started this process, or bound here. Accepts
//! only this user's processes. What they say is not its concern.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::tokio::Listener as SocketListener;
use python_interpreter_mcp::endpoint::{self, EndpointError, Socket};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::UnixStream;

/// How long accepting pauses when the process is out of descriptors or memory, so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long another process may hold the lock that is needed to remove the socket's path.
const LOCK_DEADLINE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error("the socket that was passed on cannot be read from LISTEN_FDS and LISTEN_PID: {0}")]
    Environment(#[source] io::Error),
    #[error("exactly one socket is expected in LISTEN_FDS, not {0}")]
    Number(usize),
    #[error("the descriptor passed in LISTEN_FDS is not a listening Unix stream socket")]
    NotAListener,
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("the socket cannot be listened on: {0}")]
    Listen(#[source] io::Error),
}

/// A socket that is listened on, before there is an event loop.
#[derive(Debug)]
pub struct Bound {
    socket: OwnedFd,
    path: Option<OwnPath>,
}

/// A path that this process removes when it stops, and which file it is.
#[derive(Debug)]
pub struct OwnPath {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Bound {
    /// Takes over the socket that was passed on, else binds the user's own. Call it before any thread is started.
    /// `background` says that a client started this process: then the path of the socket is ours to remove.
    pub fn inherit_or_bind(which: Socket, background: bool) -> Result<Self, ListenerError> {
        if let Some(socket) = inherited()? {
            // systemd keeps its sockets: what it passed on stays where it is. Only it gives them names. INVOCATION_ID would
            // not tell, because whatever is started from a unit, such as a terminal, inherits it.
            let own = background && std::env::var_os("LISTEN_FDNAMES").is_none();
            let path = if own { OwnPath::of(&socket) } else { None };
            return Ok(Self { socket, path });
        }
        let path = endpoint::socket_path(which)?;
        let socket = endpoint::bind(&path)?;
        Ok(Self { socket, path: OwnPath::at(path) })
    }

    /// The listening socket, and its path if that is ours to remove.
    pub fn into_parts(self) -> (OwnedFd, Option<OwnPath>) {
        (self.socket, self.path)
    }
}

fn inherited() -> Result<Option<OwnedFd>, ListenerError> {
    #[allow(
        unsafe_code,
        reason = "removing variables from the environment, so that children don't take them for theirs"
    )]
    // SAFETY: it is called before this process has a second thread.
    let descriptors = unsafe { sd_notify::listen_fds_and_unset_env() };
    let mut descriptors = descriptors.map_err(ListenerError::Environment)?;
    let number = descriptors.len();
    let Some(descriptor) = descriptors.next() else { return Ok(None) };
    if number > 1 {
        return Err(ListenerError::Number(number));
    }
    #[allow(unsafe_code, reason = "an inherited descriptor is a bare number")]
    // SAFETY: whoever started us says that this descriptor is ours, and nothing else here has taken it.
    let socket = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(descriptor) };
    let is_listener = sockopt::socket_domain(&socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(&socket) == Ok(SocketType::STREAM)
        && sockopt::socket_acceptconn(&socket) == Ok(true);
    if is_listener { Ok(Some(socket)) } else { Err(ListenerError::NotAListener) }
}

pub struct Listener {
    socket: SocketListener,
    path: Option<OwnPath>,
}

impl Listener {
    /// Needs to be called inside the event loop.
    pub fn new(bound: Bound) -> Result<Self, ListenerError> {
        let socket = SocketListener::try_from(bound.socket).map_err(ListenerError::Listen)?;
        Ok(Self { socket, path: bound.path })
    }

    /// The next client of this user. Nothing is lost when the future is dropped before it is done.
    pub async fn accept(&self) -> UnixStream {
        loop {
            match self.socket.accept().await {
                Ok(stream) => {
                    let stream = UnixStream::from(stream);
                    match endpoint::peer_is_this_user(stream.as_fd()) {
                        Ok(true) => return stream,
                        Ok(false) => tracing::warn!("connection of another user refused"),
                        Err(error) => tracing::warn!(%error, "connection refused: its user is unknown"),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::error!(%error, "connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A client that has already connected, if there is one.
    pub async fn accept_waiting(&self) -> Option<UnixStream> {
        tokio::select! {
            biased;
            stream = self.accept() => Some(stream),
            // The listener is asked once; a second turn of the event loop tells it what the kernel has.
            () = async { tokio::task::yield_now().await; tokio::time::sleep(Duration::ZERO).await } => None,
        }
    }

    /// Removes the socket's path if this process is who it belongs to, so that the next client starts a new daemon.
    pub fn remove_path(&mut self) {
        if let Some(own) = self.path.take() {
            own.remove();
        }
    }
}

impl OwnPath {
    fn of(socket: &impl AsFd) -> Option<Self> {
        let address = rustix::net::getsockname(socket).ok()?;
        let address = rustix::net::SocketAddrUnix::try_from(address).ok()?;
        Self::at(PathBuf::from(OsStr::from_bytes(address.path_bytes()?)))
    }

    fn at(path: PathBuf) -> Option<Self> {
        let metadata = fs::symlink_metadata(&path).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino(), path })
    }

    /// Removes it, unless somebody else has taken its place.
    pub fn remove(self) {
        if let Err(error) = self.try_remove() {
            tracing::warn!(%error, path = %self.path.display(), "socket cannot be removed");
        }
    }

    /// Under the lock that those hold who bind this path: between the look and the removal nobody may replace it.
    fn try_remove(&self) -> io::Result<()> {
        let _lock = lock(&self.path.with_extension("lock"))?;
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) == (self.device, self.inode) => {
                fs::remove_file(&self.path)
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn lock(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    let deadline = Instant::now() + LOCK_DEADLINE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
}
