//! Answers the clients of a process that cannot start. Without an answer they would wait for ever, or start it again and again.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use python_interpreter_mcp::endpoint::{self, OwnedPath};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::first_byte::{Protocol, protocol};
use crate::socket_activation::inherited;
use crate::{http, transport};

/// How long further clients may connect. The one that started this process does so at once.
const ACCEPTING: Duration = Duration::from_millis(300);
/// How long a connected client may take to send a request.
const PATIENCE: Duration = Duration::from_secs(1);
/// When the process ends, even if clients are connected.
const DEADLINE: Duration = Duration::from_secs(10);
/// The most connections that are answered. Further ones are closed.
const MAX_CONNECTIONS: usize = 256;

/// The socket on which clients wait, if there is one.
pub struct Waiting {
    socket: Option<OwnedFd>,
    /// The path, if this process has to remove it.
    path: Option<OwnedPath>,
}

impl Waiting {
    /// The clients on an inherited socket that was not taken yet. Call it before any thread is started.
    pub fn inherited() -> Self {
        inherited().ok().flatten().map_or(Self::nobody(), |inherited| Self::on(inherited.socket, inherited.is_kept))
    }

    /// The clients on `socket`. With `is_kept`, systemd keeps the socket and its path.
    pub fn on(socket: OwnedFd, is_kept: bool) -> Self {
        let path = if is_kept { None } else { OwnedPath::of(&socket) };
        Self { socket: Some(socket), path }
    }

    pub fn nobody() -> Self {
        Self { socket: None, path: None }
    }

    /// Answers each request with `reason`, in the protocol of the request.
    pub fn turn_away(self, reason: &str) {
        let Self { socket: Some(socket), path } = self else { return };
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        // A client that cannot be answered sees the connection end.
        let answering = async { timeout(DEADLINE, answer_all(socket, path, reason)).await };
        let _ = runtime.block_on(answering);
        runtime.shutdown_background();
    }
}

async fn answer_all(socket: OwnedFd, path: Option<OwnedPath>, reason: &str) -> io::Result<()> {
    let socket = std::os::unix::net::UnixListener::from(socket);
    socket.set_nonblocking(true)?;
    let listener = UnixListener::from_std(socket)?;
    let reason = Arc::<str>::from(reason);
    let mut connections = JoinSet::new();
    let mut take = |stream: UnixStream| {
        if connections.len() < MAX_CONNECTIONS && endpoint::peer_is_this_user(stream.as_fd()).unwrap_or(false) {
            let reason = reason.clone();
            connections.spawn(async move { answer(stream, &reason).await });
        }
    };
    let until = Instant::now() + ACCEPTING;
    while let Ok(accepted) = timeout_at(until, listener.accept()).await {
        take(accepted?.0);
    }
    if let Some(path) = path {
        // The next client starts another process. Once the path is gone, nobody can connect between the last accept and the close.
        let _ = tokio::task::spawn_blocking(move || path.remove()).await;
    }
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        take(stream);
    }
    drop(listener);
    connections.join_all().await;
    Ok(())
}

async fn answer(stream: UnixStream, reason: &str) {
    // A client that cannot be answered sees the connection end.
    match timeout(PATIENCE, protocol(&stream)).await {
        Ok(Ok(Some(Protocol::Http))) => {
            let _ = timeout(PATIENCE, http::refuse(stream, reason, CancellationToken::new())).await;
        }
        Ok(Ok(Some(Protocol::Mcp))) => {
            let _ = transport::refuse(stream, reason).await;
        }
        _ => {}
    }
}
