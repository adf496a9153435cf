//! Those who have connected to the socket of a process that cannot start. They are told why before it leaves: else they would wait for ever,
//! or have it started again and again.

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

/// For how long somebody may still connect: whoever started this process does so at once.
const ACCEPTING: Duration = Duration::from_millis(300);
/// How long somebody who has connected may take to ask something.
const PATIENCE: Duration = Duration::from_secs(1);
/// When the process leaves, whoever is still there.
const DEADLINE: Duration = Duration::from_secs(10);
/// Connections that are answered; further ones are closed.
const MAX_CONNECTIONS: usize = 256;

/// The socket on which they wait, if there is one.
pub struct Waiting {
    socket: Option<OwnedFd>,
    /// Where the socket is ours to remove.
    path: Option<OwnedPath>,
}

impl Waiting {
    /// Before anything was taken over. Call it before any thread is started.
    pub fn inherited() -> Self {
        inherited().ok().flatten().map_or(Self::nobody(), |inherited| Self::on(inherited.socket, inherited.is_kept))
    }

    /// On a socket that was passed on; one that systemd keeps stays where it is.
    pub fn on(socket: OwnedFd, is_kept: bool) -> Self {
        let path = if is_kept { None } else { OwnedPath::of(&socket) };
        Self { socket: Some(socket), path }
    }

    pub fn nobody() -> Self {
        Self { socket: None, path: None }
    }

    /// Answers each request with `reason`, in the protocol in which it is asked.
    pub fn turn_away(self, reason: &str) {
        let Self { socket: Some(socket), path } = self else { return };
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        // Whoever cannot be told sees the connection end.
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
        // The next client starts another process. Without a path nobody comes between the last look and the end of the socket.
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
    // Whoever cannot be told sees the connection end.
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
