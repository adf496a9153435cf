//! The socket on which clients arrive: inherited, or bound here. Only processes of this user are accepted.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::tokio::Listener as SocketListener;
use python_interpreter_mcp::endpoint::{self, EndpointError, OwnedPath, Socket};
use tokio::net::UnixStream;

use crate::socket_activation::{ActivationError, Inherited, inherited};
use crate::waiting::Waiting;

/// The pause after a failed accept, for example when the process is out of descriptors. Without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long shutdown waits for the lock on the socket's path.
const REMOVE_DEADLINE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error(transparent)]
    Activation(#[from] ActivationError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("cannot listen on the socket: {0}")]
    Listen(#[source] io::Error),
}

/// A listening socket, before there is an event loop.
#[derive(Debug)]
pub struct Bound {
    socket: OwnedFd,
    path: Option<OwnedPath>,
    is_inherited: bool,
    is_kept: bool,
}

impl Bound {
    /// Takes the inherited socket, else binds the user's own. Call it before any thread is started. With `background`, a client started this
    /// process, which then has to remove the socket's path.
    pub fn inherit_or_bind(which: Socket, background: bool) -> Result<Self, ListenerError> {
        if let Some(Inherited { socket, is_kept }) = inherited()? {
            let path = if background && !is_kept { OwnedPath::of(&socket) } else { None };
            return Ok(Self { socket, path, is_inherited: true, is_kept });
        }
        let path = endpoint::socket_path(which)?;
        let socket = endpoint::bind(&path)?;
        Ok(Self { socket, path: OwnedPath::at(path), is_inherited: false, is_kept: false })
    }

    /// Whether systemd keeps listening after this process has ended, and starts it again.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The clients to answer if serving fails: those for whom this process was started.
    pub fn waiting(&self) -> Waiting {
        match self.socket.try_clone() {
            Ok(socket) if self.is_inherited => Waiting::on(socket, self.is_kept),
            _ => Waiting::nobody(),
        }
    }

    /// The listening socket, and its path if this process has to remove it.
    pub fn into_parts(self) -> (OwnedFd, Option<OwnedPath>) {
        (self.socket, self.path)
    }
}

pub struct Listener {
    socket: SocketListener,
    path: Option<OwnedPath>,
}

impl Listener {
    /// Must be called inside the event loop.
    pub fn new(bound: Bound) -> Result<Self, ListenerError> {
        let socket = SocketListener::try_from(bound.socket).map_err(ListenerError::Listen)?;
        Ok(Self { socket, path: bound.path })
    }

    /// The next client of this user. Cancel safe.
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
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A client that has connected already, if there is one.
    pub async fn accept_waiting(&self) -> Option<UnixStream> {
        tokio::select! {
            biased;
            stream = self.accept() => Some(stream),
            // The listener learns of a connection only in the next turn of the event loop.
            () = async { tokio::task::yield_now().await; tokio::time::sleep(Duration::ZERO).await } => None,
        }
    }

    /// Removes the socket's path if it belongs to this process, so that the next client starts a new daemon. Gives up after a while: the next
    /// process that binds the path replaces it.
    pub async fn remove_path(&mut self) {
        if let Some(path) = self.path.take() {
            // It blocks on a lock.
            let removing = tokio::task::spawn_blocking(move || remove(path));
            if tokio::time::timeout(REMOVE_DEADLINE, removing).await.is_err() {
                tracing::warn!("the socket's path was not removed, because its lock is held");
            }
        }
    }
}

/// Removes a socket's path. A failure is only logged: the next process that binds the path replaces it.
pub fn remove(path: OwnedPath) {
    if let Err(error) = path.remove() {
        tracing::warn!(%error, "cannot remove the socket");
    }
}
