//! Accepts connections until it is told to stop, or has been idle for long. Then lets the open ones finish, within a deadline.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::either::Either;

use super::respond;
use crate::executor::Executor;
use crate::files::{MAX_AGE, MAX_BYTES};
use crate::tcp_owner::owner;

/// Most open connections; more wait to be accepted.
const MAX_CONNECTIONS: usize = 512;
/// Longest wait for a request's head. An idle connection is kept for as long.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// How long running executions may continue after the interpreter was asked to stop.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// How long executions may take to answer after they were ended.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// How long accepting pauses after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often idleness is checked and the executor maintained.
const TICK: Duration = Duration::from_secs(1);
/// Old files are deleted once in this many ticks.
const TICKS_PER_SWEEP: u64 = 600;

/// Where requests come from.
pub enum Listener {
    Unix(UnixListener),
    /// Loopback only, where the kernel knows the owner of each connection. Any other address would need a token.
    Tcp(TcpListener),
}

/// When and how to stop.
#[derive(Default)]
pub struct Leave {
    /// Stop after this long without a connection; `None` means never.
    pub when_idle: Option<Duration>,
    /// Removes the socket's path, so that nobody connects in vain. `None` if someone else manages the path.
    pub remove_path: Option<Box<dyn FnOnce() + Send>>,
}

/// Longest wait for the socket's path to be removed.
const REMOVE_DEADLINE: Duration = Duration::from_millis(500);
/// The reason to stop when nobody asked for it.
const IDLE: &str = "idle";

type Connection = Either<UnixStream, TcpStream>;

impl Listener {
    async fn accept(&self) -> io::Result<Connection> {
        match self {
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Either::Left(stream)),
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Either::Right(stream)),
        }
    }
}

/// The executor of the current settings. A request goes to the one that is current when it arrives.
type Current = watch::Receiver<Arc<Executor>>;

/// Serves until `shutdown` or idleness. Executions that run then may finish within [`DRAIN_DEADLINE`]. Then they
/// are ended.
pub async fn run(listener: Listener, executor: Current, leave: Leave, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = GracefulShutdown::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut tick, mut idle_since) = (0, Instant::now());
    tokio::pin!(shutdown);
    let reason = loop {
        tokio::select! {
            () = &mut shutdown => break "asked to stop",
            accepted = accept(&listener, &places) => {
                connect(&executor, &connections, accepted);
            }
            _ = ticks.tick() => {
                if tick % TICKS_PER_SWEEP == 0 {
                    sweep(&executor.borrow());
                }
                tick += 1;
                executor.borrow().maintain();
                if connections.count() > 0 {
                    idle_since = Instant::now();
                }
                if leave.when_idle.is_some_and(|limit| idle_since.elapsed() >= limit) {
                    break IDLE;
                }
            }
        }
    };
    if let Some(remove_path) = leave.remove_path {
        // It may have to wait for a lock. If that takes too long, the next owner finds a stale path and replaces it.
        let _ = timeout(REMOVE_DEADLINE, tokio::task::spawn_blocking(remove_path)).await;
    }
    // Clients that connected before the path was removed are served. Yielding lets the event loop notice them.
    tokio::task::yield_now().await;
    while let Ok(accepted) = timeout(Duration::ZERO, accept(&listener, &places)).await {
        connect(&executor, &connections, accepted);
    }
    drop(listener);
    if reason == IDLE {
        // A graceful shutdown would close a new connection before it has read its request. All end by themselves, at the latest when idle.
        while connections.count() > 0 {
            tokio::select! {
                () = &mut shutdown => break,
                _ = ticks.tick() => {}
            }
        }
    }
    let open = connections.count();
    let all_ended = connections.shutdown();
    tokio::pin!(all_ended);
    let drained = timeout(DRAIN_DEADLINE, &mut all_ended).await.is_ok();
    if !drained {
        // Each answers with what its program has printed.
        executor.borrow().running.end_all();
        let _ = timeout(END_DEADLINE, all_ended).await;
    }
    tracing::info!(reason, open, drained, "interpreter stopped");
}

type Accepted = io::Result<(Connection, tokio::sync::OwnedSemaphorePermit)>;

async fn accept(listener: &Listener, places: &Arc<Semaphore>) -> Accepted {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    match listener.accept().await {
        Ok(stream) => Ok((stream, place)),
        Err(error) => {
            // Out of descriptors or memory: an immediate retry would only spin.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            Err(error)
        }
    }
}

/// Serves one connection in a task of its own.
fn connect(executor: &Current, connections: &GracefulShutdown, accepted: Accepted) {
    let (stream, place) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return tracing::warn!(%error, "cannot accept a connection"),
    };
    let browser_reachable = matches!(stream, Either::Right(_));
    let permitted = is_permitted(&stream);
    let executor = executor.clone();
    let service = service_fn(move |request| {
        let executor = executor.borrow().clone();
        async move { Ok::<_, std::convert::Infallible>(respond(executor, request, browser_reachable).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if !permitted.await {
            return tracing::warn!("refused a connection of another user");
        }
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
        drop(place);
    });
}

/// Whether the peer belongs to this user. Over TCP also root is permitted, who can become this user anyway.
fn is_permitted(stream: &Connection) -> impl Future<Output = bool> + use<> {
    let this_user = rustix::process::geteuid().as_raw();
    let known = match stream {
        Either::Left(unix) => Ok(unix.peer_cred().is_ok_and(|peer| peer.uid() == this_user)),
        Either::Right(tcp) => Err((tcp.peer_addr(), tcp.local_addr())),
    };
    async move {
        match known {
            Ok(permitted) => permitted,
            Err((Ok(peer), Ok(local))) => {
                let owner = tokio::task::spawn_blocking(move || owner(peer, local)).await;
                matches!(owner, Ok(Some(owner)) if owner == this_user || owner == 0)
            }
            Err(_) => false,
        }
    }
}

fn sweep(executor: &Executor) {
    let files = executor.files.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = files.sweep(MAX_AGE, MAX_BYTES) {
            tracing::warn!(%error, "cannot delete old files");
        }
    });
}
