//! Serves each client in a task and a tracing span of its own, until shutdown. Then running calls may end, within a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::service::serve_server_with_ct;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field};

use crate::first_byte::{Protocol, has_spoken, protocol};
use crate::http::{self, Gate, Tcp, Visitor};
use crate::idle_exit::IdleExit;
use crate::listener::Listener;
use crate::newcomers::Newcomers;
use crate::server::Server;
use crate::transport::{self, SocketTransport};

/// How long calls may take to answer once their programs were ended.
const STOP_DEADLINE: Duration = Duration::from_secs(6);
/// How long cancelled sessions may take to end before they are aborted.
const CANCEL_DEADLINE: Duration = Duration::from_secs(1);

/// The most HTTP connections on the user's socket. They do not count as clients, so that `status` works however many clients there are.
const MAX_HTTP: usize = 64;
/// The least bound on silent connections, however few clients are allowed.
const MIN_SILENT: usize = 64;
/// How many clients beyond the limit get an answer at the same time. Further ones are closed.
const MAX_REFUSED: usize = 64;

/// A year: a longer time is a mistake.
const MAX_SECONDS: u64 = 365 * 24 * 60 * 60;

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// How many clients may be connected; further ones are refused
    #[arg(
        long,
        value_name = "NUMBER",
        env = "PYTHON_INTERPRETER_MCP_MAX_SESSIONS",
        default_value = "1024",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_sessions: u32,

    /// How long running calls may go on after a request to stop
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PYTHON_INTERPRETER_MCP_DRAIN",
        default_value = "10",
        value_parser = clap::value_parser!(u64).range(..=MAX_SECONDS)
    )]
    pub drain: u64,

    #[command(flatten)]
    pub idle: IdleExit,
}

/// How serving ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// No client came for a while.
    Idle,
    /// A stop was requested, and every session ended in time.
    Drained,
    /// A stop was requested, and this many sessions had to be cancelled.
    Cancelled(usize),
}

struct Sessions {
    server: Server,
    socket_gate: Arc<Gate>,
    places: Arc<Places>,
    /// Each task returns whether it served an MCP client.
    tasks: JoinSet<bool>,
    started: u64,
    cancel: CancellationToken,
    draining: CancellationToken,
}

/// The connections of each kind, with a bound for each.
struct Places {
    /// Counts clients: each holds a clone.
    client: Arc<()>,
    http: Arc<Semaphore>,
    refused: Semaphore,
    /// Those that have not sent a byte.
    silent: Arc<Newcomers>,
}

/// Serves until `shutdown` completes or, if `leaves_when_idle`, until no client has been connected for `idle_exit`. Changes of the settings
/// hold at once.
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
        let idle_exit = if is_leaving { 0 } else { settings.borrow().idle.idle_exit };
        let idle_exit = Duration::from_secs(idle_exit);
        let idle = leaves_when_idle && sessions.tasks.is_empty();
        tokio::select! {
            () = &mut shutdown => break,
            // Starts the loop again, so that the timers below use the new settings.
            Ok(()) = settings.changed() => {}
            stream = listener.accept() => sessions.start(stream, settings.borrow().max_sessions),
            (stream, gate, visitor) = accept(tcp.as_ref()) => sessions.start_http(stream, gate, visitor),
            Some(result) = sessions.tasks.join_next(), if !sessions.tasks.is_empty() => {
                // A look from outside does not restart the idle clock.
                if report(result) {
                    idle_since = tokio::time::Instant::now();
                }
            }
            () = tokio::time::sleep_until(idle_since + idle_exit), if idle => {
                if sessions.server.is_busy() {
                    // A task runs without a client. Its client comes back for the result.
                    idle_since = tokio::time::Instant::now();
                    continue;
                }
                // Without a path no new client can arrive. Those that connected before are still served.
                listener.remove_path().await;
                is_leaving = true;
                match listener.accept_waiting().await {
                    Some(stream) => sessions.start(stream, settings.borrow().max_sessions),
                    None => return End::Idle,
                }
            }
        }
    }
    listener.remove_path().await;
    // The next daemon binds the path.
    drop((listener, tcp));
    let drain = Duration::from_secs(settings.borrow().drain);
    sessions.drain(drain).await
}

impl Sessions {
    fn new(server: Server) -> Self {
        let (cancel, draining) = (CancellationToken::new(), CancellationToken::new());
        Self {
            server,
            socket_gate: Arc::new(Gate::of_socket()),
            places: Arc::new(Places::new()),
            tasks: JoinSet::new(),
            started: 0,
            cancel,
            draining,
        }
    }

    fn start(&mut self, stream: UnixStream, most: u32) {
        let (server, cancel, draining, span) = self.new_session();
        let (gate, places, most) = (self.socket_gate.clone(), self.places.clone(), most as usize);
        // A shim whose connection is closed here connects again when its client sends something.
        let silent = places.silent.enter(most.max(MIN_SILENT));
        // Each event enters the span itself. Instrumenting the task would enter and leave it with every poll.
        self.tasks.spawn(async move {
            let closed = silent.closed();
            let protocol = tokio::select! {
                biased;
                protocol = protocol(&stream) => protocol,
                // A byte may have arrived meanwhile.
                () = closed.cancelled() => if has_spoken(&stream) { protocol(&stream).await } else { Ok(None) },
                () = cancel.cancelled() => Ok(None),
                () = draining.cancelled() => Ok(None),
            };
            drop(silent);
            match protocol {
                Ok(Some(Protocol::Http)) => {
                    let Ok(place) = places.http.clone().try_acquire_owned() else {
                        span.in_scope(|| {
                            tracing::warn!(most = MAX_HTTP, "connection refused: too many HTTP connections are open")
                        });
                        return false;
                    };
                    // Boxed because it is large and rare: the task of an idle client should not be that large.
                    let visitor = Visitor::known(place);
                    Box::pin(http::serve(stream, server, gate, visitor, draining, cancel).instrument(span)).await
                }
                Ok(Some(Protocol::Mcp)) => {
                    let Some(_place) = places.admit(most) else {
                        places.refuse(stream, most, &span).await;
                        return false;
                    };
                    let _counted = server.count_client();
                    match SocketTransport::new(stream, cancel.clone(), draining, span.clone()) {
                        Ok(transport) => serve(transport, server, cancel, &span).await,
                        Err(error) => span.in_scope(|| tracing::error!(%error, "cannot wait for the client")),
                    }
                    true
                }
                Ok(None) => false,
                Err(error) => {
                    span.in_scope(|| tracing::debug!(%error, "cannot read from the client"));
                    false
                }
            }
        });
    }

    fn start_http(&mut self, stream: TcpStream, gate: Arc<Gate>, visitor: Visitor) {
        let (server, cancel, draining, span) = self.new_session();
        let session = async move { http::serve(stream, server.over_tcp(), gate, visitor, draining, cancel).await };
        self.tasks.spawn(session.instrument(span));
    }

    /// One client's server, and the tokens that end its session at once, or once its requests are answered.
    fn new_session(&mut self) -> (Server, CancellationToken, CancellationToken, Span) {
        self.started += 1;
        let span = tracing::info_span!(
            "session",
            session = self.started,
            client_name = field::Empty,
            client_version = field::Empty
        );
        let (cancel, draining) = (self.cancel.child_token(), self.draining.child_token());
        (self.server.for_client(span.clone(), cancel.clone(), draining.clone()), cancel, draining, span)
    }

    async fn drain(mut self, deadline: Duration) -> End {
        let started = Instant::now();
        let sessions = self.tasks.len();
        self.draining.cancel();
        let all_ended = tokio::time::timeout(deadline, self.all_ended()).await.is_ok();
        let left = self.tasks.len();
        let all_answered = all_ended || {
            self.server.stop();
            tokio::time::timeout(STOP_DEADLINE, self.all_ended()).await.is_ok()
        };
        if !all_answered {
            self.cancel.cancel();
            let _ = tokio::time::timeout(CANCEL_DEADLINE, self.server.give_up()).await;
            // Dropping the set aborts what has not ended even now.
            let _ = tokio::time::timeout(CANCEL_DEADLINE, self.all_ended()).await;
        }
        let duration_milliseconds = started.elapsed().as_millis();
        tracing::info!(sessions, cancelled = left, duration_milliseconds, "stopped");
        if left == 0 { End::Drained } else { End::Cancelled(left) }
    }

    /// Waits for every session, and for tasks that run without one.
    async fn all_ended(&mut self) {
        while let Some(result) = self.tasks.join_next().await {
            report(result);
        }
        self.server.until_idle().await;
    }
}

impl Places {
    fn new() -> Self {
        Self {
            client: Arc::new(()),
            http: Arc::new(Semaphore::new(MAX_HTTP)),
            refused: Semaphore::new(MAX_REFUSED),
            silent: Arc::default(),
        }
    }

    /// A place among the clients, if fewer than `most` are taken. The number of tasks does not serve: a task whose session has ended stays in
    /// the set until it is joined.
    fn admit(&self, most: usize) -> Option<Arc<()>> {
        let place = self.client.clone();
        (Arc::strong_count(&self.client) - 1 <= most).then_some(place)
    }

    /// Answers a client that there are too many.
    async fn refuse(&self, stream: UnixStream, most: usize, span: &Span) {
        span.in_scope(|| tracing::warn!(most, "client refused: there are as many as the setting max_sessions allows"));
        let Ok(_permit) = self.refused.try_acquire() else { return };
        let reason = format!(
            "The interpreter daemon serves {most} clients already, as many as the setting max_sessions allows. Close one, or raise it \
             (PYTHON_INTERPRETER_MCP_MAX_SESSIONS). Nothing was run."
        );
        if let Err(error) = Box::pin(transport::refuse(stream, &reason)).await {
            span.in_scope(|| tracing::debug!(%error, "cannot tell the client that it is refused"));
        }
    }
}

async fn accept(tcp: Option<&Tcp>) -> (TcpStream, Arc<Gate>, Visitor) {
    match tcp {
        Some(tcp) => tcp.accept().await,
        None => std::future::pending().await,
    }
}

async fn serve(transport: SocketTransport, server: Server, cancel: CancellationToken, span: &Span) {
    span.in_scope(|| tracing::debug!("session begins"));
    match Box::pin(serve_server_with_ct(server, transport, cancel)).await {
        Ok(session) => match session.waiting().await {
            Ok(reason) => span.in_scope(|| tracing::debug!(?reason, "session ended")),
            Err(error) => span.in_scope(|| tracing::error!(%error, "session failed")),
        },
        Err(error) => span.in_scope(|| tracing::debug!(%error, "session ended before it was opened")),
    }
}

/// Whether the session was a client's.
fn report(result: Result<bool, JoinError>) -> bool {
    result.unwrap_or_else(|error| {
        tracing::error!(%error, "session failed");
        true
    })
}
