//! The socket on which clients arrive: inherited from systemd or from whoever started this process, or bound here. Accepts
//! only this user's processes. What they say is not its concern.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::tokio::Listener as SocketListener;
use python_interpreter_mcp::endpoint::{self, EndpointError, OwnedPath, Socket};
use tokio::net::UnixStream;

use crate::socket_activation::{ActivationError, Inherited, inherited};
use crate::waiting::Waiting;

/// How long accepting pauses when the process is out of descriptors or memory, so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the end of serving waits for the lock of the socket's path.
const REMOVE_DEADLINE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error(transparent)]
    Activation(#[from] ActivationError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("the socket cannot be listened on: {0}")]
    Listen(#[source] io::Error),
}

/// A socket that is listened on, before there is an event loop.
#[derive(Debug)]
pub struct Bound {
    socket: OwnedFd,
    path: Option<OwnedPath>,
    is_inherited: bool,
    is_kept: bool,
}

impl Bound {
    /// Takes over the socket that was passed on, else binds the user's own. Call it before any thread is started.
    /// `background` says that a client started this process: then the path of the socket is ours to remove.
    pub fn inherit_or_bind(which: Socket, background: bool) -> Result<Self, ListenerError> {
        if let Some(Inherited { socket, is_kept }) = inherited()? {
            let path = if background && !is_kept { OwnedPath::of(&socket) } else { None };
            return Ok(Self { socket, path, is_inherited: true, is_kept });
        }
        let path = endpoint::socket_path(which)?;
        let socket = endpoint::bind(&path)?;
        Ok(Self { socket, path: OwnedPath::at(path), is_inherited: false, is_kept: false })
    }

    /// Whether systemd goes on listening when this process has left, and starts it again.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whom to turn away should serving fail: those for whom this process was started.
    pub fn waiting(&self) -> Waiting {
        match self.socket.try_clone() {
            Ok(socket) if self.is_inherited => Waiting::on(socket, self.is_kept),
            _ => Waiting::nobody(),
        }
    }

    /// The listening socket, and its path if that is ours to remove.
    pub fn into_parts(self) -> (OwnedFd, Option<OwnedPath>) {
        (self.socket, self.path)
    }
}

pub struct Listener {
    socket: SocketListener,
    path: Option<OwnedPath>,
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

    /// Removes the socket's path if this process is who it belongs to, so that the next client starts a new daemon. Gives up where that
    /// takes long: the next who binds the path finds it stale.
    pub async fn remove_path(&mut self) {
        if let Some(path) = self.path.take() {
            // It waits for a lock.
            let removing = tokio::task::spawn_blocking(move || remove(path));
            if tokio::time::timeout(REMOVE_DEADLINE, removing).await.is_err() {
                tracing::warn!("the socket's path is left: its lock is held");
            }
        }
    }
}

/// Removes the path of a socket of ours. A failure is the log's: the next who binds it finds it stale and replaces it.
pub fn remove(path: OwnedPath) {
    if let Err(error) = path.remove() {
        tracing::warn!(%error, "socket cannot be removed");
    }
}
