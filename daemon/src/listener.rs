//! The socket on which clients arrive: inherited from systemd or from whoever started this process, or bound here. Accepts
//! only this user's processes. What they say is not its concern.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::tokio::Listener as SocketListener;
use python_interpreter_mcp::endpoint::{self, EndpointError, OwnedPath, Socket};
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::http::{self, Gate, TokenError};

/// How long accepting pauses when the process is out of descriptors or memory, so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
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
    path: Option<OwnedPath>,
    is_kept: bool,
}

impl Bound {
    /// Takes over the socket that was passed on, else binds the user's own. Call it before any thread is started.
    /// `background` says that a client started this process: then the path of the socket is ours to remove.
    pub fn inherit_or_bind(which: Socket, background: bool) -> Result<Self, ListenerError> {
        if let Some(socket) = inherited()? {
            // systemd keeps its sockets: what it passed on stays where it is. Only it gives them names. INVOCATION_ID would
            // not tell, because whatever is started from a unit, such as a terminal, inherits it.
            let is_kept = std::env::var_os("LISTEN_FDNAMES").is_some();
            let path = if background && !is_kept { OwnedPath::of(&socket) } else { None };
            return Ok(Self { socket, path, is_kept });
        }
        let path = endpoint::socket_path(which)?;
        let socket = endpoint::bind(&path)?;
        Ok(Self { socket, path: OwnedPath::at(path), is_kept: false })
    }

    /// Whether systemd goes on listening when this process has left, and starts it again.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Remembers whom to turn away should serving fail.
    pub fn waiting(&self) -> Waiting {
        Waiting(if self.is_kept { self.socket.try_clone().ok() } else { None })
    }

    /// The listening socket, and its path if that is ours to remove.
    pub fn into_parts(self) -> (OwnedFd, Option<OwnedPath>) {
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

/// Those who have connected to a socket that systemd keeps, and whom nobody has accepted. A process that cannot serve ends their
/// connections before it leaves: they would wait for ever, and have it started again and again.
pub struct Waiting(Option<OwnedFd>);

impl Waiting {
    /// Before anything was taken over. Call it before any thread is started.
    pub fn inherited() -> Self {
        Self(inherited().ok().flatten())
    }

    pub fn turn_away(self) {
        let Some(socket) = self.0 else { return };
        // For whoever passes it on as a blocking one.
        if rustix::io::ioctl_fionbio(&socket, true).is_err() {
            return;
        }
        while rustix::net::accept(&socket).is_ok() {}
    }
}

/// A TCP address on which HTTP is served, with what a request there needs.
pub struct Tcp {
    listener: TcpListener,
    gate: Arc<Gate>,
}

impl Tcp {
    pub async fn bind(settings: &http::Settings) -> Result<Option<Self>, TcpError> {
        let Some(address) = settings.http else { return Ok(None) };
        let gate = Arc::new(Gate::of_tcp(settings, address.ip())?);
        let listener = TcpListener::bind(address).await.map_err(|source| TcpError::Listen { address, source })?;
        let address = listener.local_addr().unwrap_or(address);
        tracing::info!(%address, "listening");
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "other machines can connect, and the token is sent in the clear: put TLS in front of it");
        }
        Ok(Some(Self { listener, gate }))
    }

    /// Nothing is lost when the future is dropped before it is done.
    pub async fn accept(&self) -> (TcpStream, Arc<Gate>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Answers are whole; waiting for more to send would only delay them.
                    let _ = stream.set_nodelay(true);
                    return (stream, self.gate.clone());
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::error!(%error, "connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TcpError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("{address} cannot be listened on: {source}")]
    Listen { address: SocketAddr, source: io::Error },
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

    /// Removes the socket's path if this process is who it belongs to, so that the next client starts a new daemon.
    pub fn remove_path(&mut self) {
        if let Some(path) = self.path.take() {
            remove(path);
        }
    }
}

/// Removes the path of a socket of ours. A failure is the log's: the next who binds it finds it stale and replaces it.
pub fn remove(path: OwnedPath) {
    if let Err(error) = path.remove() {
        tracing::warn!(%error, "socket cannot be removed");
    }
}
