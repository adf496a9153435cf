//! Warm connections to one interpreter, for calls, with hyper's client connection alone: what a client library adds (redirects, retries, a
//! task for each connection) costs every call. Measured with reqwest: a call takes 17 % longer, and the daemon 22 % more CPU time. The call drives its connection itself, so that dropping the call closes the connection at
//! once, which ends the program.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use python_interpreter::tcp_owner;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// A connection that was idle for longer is not used again. uvicorn, which runs the usual service, closes its side after 5 s,
/// and a request written into a connection that is just being closed would be lost.
pub const IDLE: Duration = Duration::from_secs(4);
const MAX_IDLE: usize = 64;
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long the owner of a connection's other end is looked up, and how often.
const OWNER_DEADLINE: Duration = Duration::from_secs(2);
const OWNER_INTERVAL: Duration = Duration::from_millis(5);
const LOCALHOST: &str = "localhost";
/// How many connections are tried if each is closed before anything was written.
const TRIES: usize = 3;

type Cause = Box<dyn Error + Send + Sync>;
type Stream = Either<TcpStream, UnixStream>;
type Driver = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

/// Where the interpreter is.
#[derive(Debug)]
pub enum Place {
    Tcp {
        host: String,
        port: u16,
    },
    /// The listener on this port of this machine, if it belongs to this user or to root.
    OwnPort(u16),
    Unix(PathBuf),
}

#[derive(Debug)]
pub enum SendError {
    /// Nothing was sent.
    NotReached(Cause),
    /// It may have been sent.
    Dropped(Cause),
}

pub struct Connections {
    place: Place,
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    /// The one that was used last is last.
    connections: Vec<(Instant, Connection)>,
    is_swept: bool,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// None once the connection has ended.
    driver: Option<Pin<Box<Driver>>>,
}

/// An answer whose body is still to be read. Dropping it closes the connection.
pub struct Answering {
    response: Response<Incoming>,
    connection: Option<Connection>,
    idle: Arc<Mutex<Idle>>,
}

impl Connections {
    pub fn new(place: Place) -> Self {
        Self { place, idle: Arc::default() }
    }

    /// Sends the request once. It only goes to another connection if nothing of it was written.
    pub fn send(&self, mut request: Request<Full<Bytes>>) -> impl Future<Output = Result<Answering, SendError>> {
        let mut last = None;
        // Not an async fn, whose future would hold its arguments twice.
        async move {
            for attempt in 0..TRIES {
                // If an idle connection was closed, so were the others: the service was restarted.
                let waiting = if attempt == 0 { take(&self.idle) } else { None };
                let mut connection = match waiting {
                    Some(connection) => connection,
                    // Boxed because it is large and rare: every call's future would be that large.
                    None => Box::pin(self.connect()).await.map_err(SendError::NotReached)?,
                };
                let sent = connection.sender.try_send_request(request);
                match drive(&mut connection.driver, sent).await {
                    Ok(response) => {
                        return Ok(Answering { response, connection: Some(connection), idle: self.idle.clone() });
                    }
                    Err(mut error) => match error.take_message() {
                        Some(unsent) => {
                            request = unsent;
                            last = Some(error.into_error());
                        }
                        None => return Err(SendError::Dropped(error.into_error().into())),
                    },
                }
            }
            Err(SendError::NotReached(last.map_or_else(|| "every connection was closed at once".into(), Cause::from)))
        }
    }

    async fn connect(&self) -> Result<Connection, Cause> {
        let connecting = async {
            let stream = match &self.place {
                Place::Unix(path) => Either::Right(UnixStream::connect(path).await?),
                Place::Tcp { host, port } => Either::Left(connect_tcp(host, *port).await?),
                Place::OwnPort(port) => {
                    let stream = connect_tcp(LOCALHOST, *port).await?;
                    check_owner(&stream).await?;
                    Either::Left(stream)
                }
            };
            let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
            Ok(Connection { sender, driver: Some(Box::pin(driver)) })
        };
        match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = match host.eq_ignore_ascii_case(LOCALHOST) {
        // This machine, whatever a name server says. If both fail, the error of IPv4 is reported.
        true => match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => stream,
            Err(error) => TcpStream::connect(("::1", port)).await.map_err(|_| error)?,
        },
        false => connect_to_any(host, port).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Refuses a connection whose other end belongs to another user than this one or root. Each connection is checked before anything is sent,
/// because the port may have changed hands since it was last looked at.
async fn check_owner(stream: &TcpStream) -> io::Result<()> {
    let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
    let end = Instant::now() + OWNER_DEADLINE;
    loop {
        // The kernel's tables are long on a busy machine.
        let owner = tokio::task::spawn_blocking(move || tcp_owner::owner(peer, local)).await?;
        let user = rustix::process::geteuid().as_raw();
        match owner {
            Some(owner) if owner == user || owner == 0 => return Ok(()),
            Some(owner) => {
                let message = format!("what listens on {peer} belongs to another user, {owner}");
                tracing::warn!(%peer, owner, "the service of another user is not used");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
            // A connection has no owner until it is accepted.
            None if Instant::now() < end => tokio::time::sleep(OWNER_INTERVAL).await,
            None => {
                let message = format!("nobody accepted the connection to {peer} within {} s", OWNER_DEADLINE.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }
}

/// Tries one address after the other, each with its share of the time, so that one that drops packets does not use up all of it.
async fn connect_to_any(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in &addresses {
        let share = CONNECT_DEADLINE / u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
        last = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
    }
    Err(last)
}

impl Answering {
    pub fn head(&self) -> &Response<Incoming> {
        &self.response
    }

    /// The least number of bytes of the body. Exact if the head has its length.
    pub fn least_length(&self) -> usize {
        usize::try_from(self.response.body().size_hint().lower()).unwrap_or(usize::MAX)
    }

    /// The next chunk of the body; none at its end. Then the connection is kept for the next call.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Cause> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        loop {
            match drive(&mut connection.driver, self.response.body_mut().frame()).await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(error.into()),
                None => break,
            }
        }
        if let Some(connection) = self.connection.take() {
            put(&self.idle, connection).await;
        }
        Ok(None)
    }
}

/// Waits for `wanted`, driving the connection meanwhile.
async fn drive<T>(driver: &mut Option<Pin<Box<Driver>>>, wanted: impl Future<Output = T>) -> T {
    let mut wanted = pin!(wanted);
    poll_fn(|context| {
        // Polled first, to tell the connection what to do, and again afterwards, to take what an ending connection leaves behind.
        if let Poll::Ready(ready) = wanted.as_mut().poll(context) {
            return Poll::Ready(ready);
        }
        // `wanted` reports why it ended.
        if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
            *driver = None;
        }
        wanted.as_mut().poll(context)
    })
    .await
}

fn take(idle: &Mutex<Idle>) -> Option<Connection> {
    let mut idle = lock(idle);
    let mut nobody = Context::from_waker(Waker::noop());
    while let Some((since, mut connection)) = idle.connections.pop() {
        // An idle connection is not polled, so it learns only now that the other side has closed it.
        let has_ended = connection.driver.as_mut().is_none_or(|driver| driver.as_mut().poll(&mut nobody).is_ready());
        if since.elapsed() < IDLE && !has_ended {
            return Some(connection);
        }
    }
    None
}

async fn put(idle: &Arc<Mutex<Idle>>, mut connection: Connection) {
    // Polled once more, so that it learns that the answer is complete.
    let Some(driver) = &mut connection.driver else { return };
    let has_ended = poll_fn(|context| Poll::Ready(driver.as_mut().poll(context).is_ready())).await;
    if has_ended || !connection.sender.is_ready() {
        return;
    }
    let mut state = lock(idle);
    if state.connections.len() < MAX_IDLE {
        state.connections.push((Instant::now(), connection));
    }
    if !state.is_swept {
        state.is_swept = true;
        tokio::spawn(sweep(idle.clone()));
    }
}

/// Closes connections that were idle for long, until there are none.
async fn sweep(idle: Arc<Mutex<Idle>>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let mut state = lock(&idle);
        state.connections.retain(|(since, _)| since.elapsed() < IDLE);
        if state.connections.is_empty() {
            state.is_swept = false;
            return;
        }
    }
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
