//! Serves every client that arrives, each in a task and a tracing span of its own, until there is a reason to stop; then
//! lets running calls end, within a deadline. What a session says is `transport`'s and `server`'s.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::service::serve_server_with_ct;
use rustix::net::{RecvFlags, recv};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field};

use crate::http::{self, Gate};
use crate::listener::{Listener, Tcp};
use crate::server::Server;
use crate::transport::SocketTransport;

/// How long cancelled sessions may take to end before they are aborted.
const CANCEL_DEADLINE: Duration = Duration::from_secs(1);

/// Connections over TCP at the same time, which do not count among the clients: whoever knows no token can make them.
const MAX_TCP: usize = 64;

/// A year: what is longer is a mistake.
const MAX_SECONDS: u64 = 365 * 24 * 60 * 60;

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// How many clients are served at once; more are refused
    #[arg(
        long,
        value_name = "NUMBER",
        env = "PYTHON_INTERPRETER_MCP_MAX_SESSIONS",
        default_value = "1024",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_sessions: u32,

    /// How long running calls may take to end after a request to stop
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PYTHON_INTERPRETER_MCP_DRAIN",
        default_value = "10",
        value_parser = clap::value_parser!(u64).range(..=MAX_SECONDS)
    )]
    pub drain: u64,

    /// After how long without clients a daemon that a client started leaves
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PYTHON_INTERPRETER_MCP_IDLE_EXIT",
        default_value = "600",
        value_parser = clap::value_parser!(u64).range(..=MAX_SECONDS)
    )]
    pub idle_exit: u64,
}

/// Why and how serving ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody needed the daemon any more.
    Idle,
    /// It was told to stop, and every session ended by itself.
    Drained,
    /// It was told to stop, and so many sessions had to be cancelled.
    Cancelled(usize),
}

struct Sessions {
    server: Server,
    socket_gate: Arc<Gate>,
    /// One more for each client that is served.
    client: Arc<()>,
    tcp_places: Arc<Semaphore>,
    tasks: JoinSet<()>,
    started: u64,
    cancel: CancellationToken,
    draining: CancellationToken,
}

/// Serves, with the settings as they are at each moment, until `shutdown`, or, with `leaves_when_idle`, until nobody has been there for as long as the settings say.
pub async fn run(
    mut listener: Listener,
    tcp: Option<Tcp>,
    server: Server,
    mut settings: watch::Receiver<Settings>,
    leaves_when_idle: bool,
    shutdown: impl Future<Output = ()>,
) -> End {
    let mut sessions = Sessions::new(server);
    let mut shutdown = std::pin::pin!(shutdown);
    let mut is_leaving = false;
    let mut idle_since = tokio::time::Instant::now();
    loop {
        let idle_exit = if is_leaving { 0 } else { settings.borrow().idle_exit };
        let idle_exit = Duration::from_secs(idle_exit);
        let idle = leaves_when_idle && sessions.tasks.is_empty();
        tokio::select! {
            () = &mut shutdown => break,
            // What waits below waits anew.
            Ok(()) = settings.changed() => {}
            stream = listener.accept() => sessions.start(stream, settings.borrow().max_sessions),
            (stream, gate) = accept(tcp.as_ref()) => sessions.start_http(stream, gate),
            Some(result) = sessions.tasks.join_next(), if !sessions.tasks.is_empty() => {
                report(result);
                idle_since = tokio::time::Instant::now();
            }
            () = tokio::time::sleep_until(idle_since + idle_exit), if idle => {
                if sessions.server.is_busy() {
                    // A task runs, and nobody is waited for but the next client, who wants its result.
                    idle_since = tokio::time::Instant::now();
                    continue;
                }
                // Without a path no new client can arrive. Whoever connected before that is still served, and then it is over.
                listener.remove_path();
                is_leaving = true;
                match listener.accept_waiting().await {
                    Some(stream) => sessions.start(stream, settings.borrow().max_sessions),
                    None => return End::Idle,
                }
            }
        }
    }
    listener.remove_path();
    // The next daemon listens there.
    drop((listener, tcp));
    let drain = Duration::from_secs(settings.borrow().drain);
    sessions.drain(drain).await
}

impl Sessions {
    fn new(server: Server) -> Self {
        let (cancel, draining) = (CancellationToken::new(), CancellationToken::new());
        let (socket_gate, tcp_places) = (Arc::new(Gate::of_socket()), Arc::new(Semaphore::new(MAX_TCP)));
        Self {
            server,
            socket_gate,
            client: Arc::new(()),
            tcp_places,
            tasks: JoinSet::new(),
            started: 0,
            cancel,
            draining,
        }
    }

    fn start(&mut self, stream: UnixStream, most: u32) {
        // Tasks would be another number: one whose session has ended may still wait to be joined.
        if Arc::strong_count(&self.client) > most as usize {
            return tracing::warn!("client refused: as many are served as the settings allow");
        }
        let client = self.client.clone();
        let (server, cancel, span) = self.new_session();
        let (gate, draining) = (self.socket_gate.clone(), self.draining.clone());
        // Each event enters the session by itself: else every step of every call would enter and leave it.
        self.tasks.spawn(async move {
            let counted = (server.count_client(), client);
            match first_byte(&stream, &cancel, &draining).await {
                Ok(Some(first)) if first.is_ascii_uppercase() => {
                    // Boxed, as what is large and not there for long: the task of an idle client should not have the room for it.
                    Box::pin(http::serve(stream, server, gate, draining, cancel).instrument(span)).await
                }
                Ok(_) => match SocketTransport::new(stream, cancel.clone(), draining, span.clone()) {
                    Ok(transport) => serve(transport, server, cancel, &span).await,
                    Err(error) => span.in_scope(|| tracing::error!(%error, "client cannot be waited for")),
                },
                Err(error) => span.in_scope(|| tracing::debug!(%error, "client cannot be read from")),
            }
            drop(counted);
        });
    }

    fn start_http(&mut self, stream: TcpStream, gate: Arc<Gate>) {
        let Ok(place) = self.tcp_places.clone().try_acquire_owned() else {
            return tracing::warn!(connections = MAX_TCP, "connection over TCP refused: there are as many as may be");
        };
        let (server, cancel, span) = self.new_session();
        let draining = self.draining.clone();
        let session = async move {
            let _counted = (server.count_client(), place);
            http::serve(stream, server, gate, draining, cancel).await;
        };
        self.tasks.spawn(session.instrument(span));
    }

    fn new_session(&mut self) -> (Server, CancellationToken, Span) {
        self.started += 1;
        let span = tracing::info_span!(
            "session",
            session = self.started,
            client_name = field::Empty,
            client_version = field::Empty
        );
        let cancel = self.cancel.child_token();
        (self.server.for_client(span.clone(), cancel.clone(), self.draining.clone()), cancel, span)
    }

    async fn drain(mut self, deadline: Duration) -> End {
        let started = Instant::now();
        let sessions = self.tasks.len();
        self.draining.cancel();
        let all_ended = tokio::time::timeout(deadline, self.all_ended()).await.is_ok();
        let left = self.tasks.len();
        if !all_ended {
            self.cancel.cancel();
            // What does not end even now is aborted with the set.
            let _ = tokio::time::timeout(CANCEL_DEADLINE, self.all_ended()).await;
        }
        let duration_milliseconds = started.elapsed().as_millis();
        tracing::info!(sessions, cancelled = left, duration_milliseconds, "stopped");
        if left == 0 { End::Drained } else { End::Cancelled(left) }
    }

    /// Every session, and what goes on without one.
    async fn all_ended(&mut self) {
        while let Some(result) = self.tasks.join_next().await {
            report(result);
        }
        self.server.until_idle().await;
    }
}

async fn accept(tcp: Option<&Tcp>) -> (TcpStream, Arc<Gate>) {
    match tcp {
        Some(tcp) => tcp.accept().await,
        None => std::future::pending().await,
    }
}

/// The first byte that the client sends, which stays to be read; none if it says nothing before it leaves, or before there is a reason
/// to stop. A capital letter begins the name of an HTTP method; MCP begins with a brace.
async fn first_byte(
    stream: &UnixStream,
    cancel: &CancellationToken,
    draining: &CancellationToken,
) -> io::Result<Option<u8>> {
    let mut first = [0];
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(None),
            () = draining.cancelled() => return Ok(None),
            ready = stream.readable() => ready?,
        }
        let peeked = stream.try_io(tokio::io::Interest::READABLE, || {
            Ok(recv(stream, &mut first[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?.1)
        });
        match peeked {
            Ok(length) => return Ok((length > 0).then_some(first[0])),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn serve(transport: SocketTransport, server: Server, cancel: CancellationToken, span: &Span) {
    span.in_scope(|| tracing::debug!("session begins"));
    match Box::pin(serve_server_with_ct(server, transport, cancel)).await {
        Ok(session) => match session.waiting().await {
            Ok(reason) => span.in_scope(|| tracing::debug!(?reason, "session ended")),
            Err(error) => span.in_scope(|| report(Err(error))),
        },
        Err(error) => span.in_scope(|| tracing::debug!(%error, "session ended before it was opened")),
    }
}

fn report(result: Result<(), JoinError>) {
    if let Err(error) = result {
        tracing::error!(%error, "session failed");
    }
}
