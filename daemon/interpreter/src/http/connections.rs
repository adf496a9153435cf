//! Accepts connections until told to stop or idle for long, then lets those that are open finish, within a deadline.

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

/// Open connections; more wait to be accepted.
const MAX_CONNECTIONS: usize = 512;
/// Longest wait for a request's head, which is also how long an idle connection is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// How long running executions may go on after the end was asked for.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// How long accepting pauses after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often idleness is looked at and old files are deleted.
const TICK: Duration = Duration::from_secs(1);
const SWEEPS: u64 = 600;

/// Where requests come from.
pub enum Listener {
    Unix(UnixListener),
    /// Loopback only: there the kernel knows whose each connection is. Whoever listens on more has to ask for a token first.
    Tcp(TcpListener),
}

/// How to leave.
#[derive(Default)]
pub struct Leave {
    /// After this long without a connection; otherwise never by itself.
    pub when_idle: Option<Duration>,
    /// Takes the socket's path away, so that nobody connects in vain. None where it is somebody else's.
    pub remove_path: Option<Box<dyn FnOnce() + Send>>,
}

/// How long the end of serving waits for the socket's path to be removed.
const REMOVE_DEADLINE: Duration = Duration::from_millis(500);
/// Why serving ended, where nobody asked for it.
const IDLE: &str = "idle";

type Stream = Either<UnixStream, TcpStream>;

impl Listener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Either::Left(stream)),
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Either::Right(stream)),
        }
    }
}

/// Which executor a request goes to: the one that is there when it comes.
type Current = watch::Receiver<Arc<Executor>>;

/// Serves until `shutdown` or idleness; what still runs then may finish within a deadline.
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
                if tick % SWEEPS == 0 {
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
        // It waits for a lock. Who binds the path next finds it stale, where this gives up.
        let _ = timeout(REMOVE_DEADLINE, tokio::task::spawn_blocking(remove_path)).await;
    }
    // Whoever connected before the path was gone is served. The event loop is let turn once to learn of them.
    tokio::task::yield_now().await;
    while let Ok(accepted) = timeout(Duration::ZERO, accept(&listener, &places)).await {
        connect(&executor, &connections, accepted);
    }
    drop(listener);
    if reason == IDLE {
        // Asked to end now, a connection would close before it has read its request. They end by themselves, at the latest when idle.
        while connections.count() > 0 {
            tokio::select! {
                () = &mut shutdown => break,
                _ = ticks.tick() => {}
            }
        }
    }
    let open = connections.count();
    let drained = timeout(DRAIN_DEADLINE, connections.shutdown()).await.is_ok();
    tracing::info!(reason, open, drained, "interpreter stopped");
}

type Accepted = io::Result<(Stream, tokio::sync::OwnedSemaphorePermit)>;

async fn accept(listener: &Listener, places: &Arc<Semaphore>) -> Accepted {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    match listener.accept().await {
        Ok(stream) => Ok((stream, place)),
        Err(error) => {
            // Out of descriptors or memory: asking again at once would only spin.
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

/// Whether the other end belongs to this user; over TCP also to root, who can become this user anyway.
fn is_permitted(stream: &Stream) -> impl Future<Output = bool> + use<> {
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
