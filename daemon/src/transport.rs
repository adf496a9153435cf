//! MCP over one client's socket, with bounds on the length of a line, the requests in flight, and the waiting requests. rmcp sees only
//! valid messages; everything else is answered here.
//!
//! While the allowed number of requests is in flight, reading goes on up to [`MAX_HELD_FRAMES`] and [`MAX_HELD_BYTES`], so that
//! cancellations and pings overtake waiting calls. Beyond that nothing is read, and the client's writes block.

mod frames;
mod hang_up;
mod in_flight;
mod message;
mod outbound;
mod refusing;
mod socket;
mod unread;
mod watched;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use futures_util::FutureExt as _;
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, GetMeta as _, ProtocolVersion, RequestId,
    ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use frames::{Frame, Frames, MAX_FRAME_BYTES};
use hang_up::HangUpWatch;
use in_flight::{InFlight, MAX_SUBSCRIPTIONS, RequestKind};
use message::{Inbound, Refusal};
use outbound::{Outbound, Outgoing};
pub use refusing::refuse;
use socket::Socket;
pub use unread::{Share, Unread};
pub use watched::task_ids;

/// The most requests that are read but not started.
const MAX_HELD_FRAMES: usize = 64;
const MAX_HELD_BYTES: usize = 1024 * 1024;
/// A longer line is parsed off the event loop, so that other clients do not wait for it.
const LARGE_FRAME_BYTES: usize = 256 * 1024;

pub struct SocketTransport {
    frames: Frames,
    /// A large frame that is being parsed.
    reading: Option<JoinHandle<Held>>,
    held: VecDeque<Held>,
    held_bytes: usize,
    refusal: Option<Refusal>,
    in_flight: Arc<InFlight>,
    outbound: Outbound,
    hang_up: HangUpWatch,
    /// The client has closed its sending direction. It still reads answers.
    input_ended: bool,
    is_draining: bool,
    /// Whether a request has opened the session. Before that rmcp ends the session at a notification.
    opened: bool,
    session: CancellationToken,
    draining: CancellationToken,
    /// The session's tracing span.
    span: Span,
}

struct Held {
    inbound: Inbound,
    bytes: usize,
}

enum Event {
    Read(Held),
    Freed,
    EndOfInput,
    Draining,
    Gone,
}

impl SocketTransport {
    /// `session` ends everything that runs for this client, and is cancelled here when the client is gone. `draining` stops reading: what is
    /// in flight is answered, then the session ends. It is cancelled here when the client closes its sending direction.
    pub fn new(
        stream: UnixStream,
        session: CancellationToken,
        draining: CancellationToken,
        span: Span,
    ) -> io::Result<Self> {
        let socket = Arc::new(Socket::new(stream));
        let in_flight = Arc::new(InFlight::default());
        Ok(Self {
            frames: Frames::new(socket.clone()),
            reading: None,
            held: VecDeque::new(),
            held_bytes: 0,
            refusal: None,
            outbound: Outbound::start(socket.clone(), in_flight.clone(), session.clone(), span.clone()),
            in_flight,
            hang_up: HangUpWatch::new(socket),
            input_ended: false,
            is_draining: false,
            opened: false,
            session,
            draining,
            span,
        })
    }

    /// Handles a message; returns it if rmcp may have it now.
    fn take_in(&mut self, held: Held) -> Option<ClientJsonRpcMessage> {
        match held.inbound {
            Inbound::Nothing => None,
            Inbound::Refused(refusal) => {
                self.refusal = Some(refusal);
                None
            }
            Inbound::Request(id, _) if self.is_known(&id) => {
                let message = "Another request with this id has not been answered yet.";
                self.refusal = Some(Refusal::new(Some(id), ErrorCode::INVALID_REQUEST, message));
                None
            }
            Inbound::Request(id, request)
                if RequestKind::of(&request) == RequestKind::Subscription
                    && self.subscriptions() >= MAX_SUBSCRIPTIONS =>
            {
                let message = format!(
                    "This connection has {MAX_SUBSCRIPTIONS} open subscriptions, as many as it may: cancel one first."
                );
                self.refusal = Some(Refusal::new(Some(id), ErrorCode::INVALID_REQUEST, message));
                None
            }
            Inbound::Request(..) => {
                self.held_bytes += held.bytes;
                self.held.push_back(held);
                None
            }
            Inbound::Notification(notification) => self.take_notification(*notification),
        }
    }

    fn take_notification(&mut self, mut notification: ClientNotification) -> Option<ClientJsonRpcMessage> {
        if let ClientNotification::CancelledNotification(cancelled) = &mut notification {
            let id = cancelled.params.request_id.take()?;
            if let Some(position) = self.held.iter().position(|held| held.is_request(&id)) {
                self.release(position);
                return None;
            }
            cancelled.params.request_id = Some(self.in_flight.cancel(&id)?);
        }
        self.opened.then(|| ClientJsonRpcMessage::notification(notification))
    }

    fn is_known(&self, id: &RequestId) -> bool {
        self.in_flight.contains(id) || self.held.iter().any(|held| held.is_request(id))
    }

    /// Requests in flight, and requests that wait to start.
    fn subscriptions(&self) -> usize {
        let held = self.held.iter().filter(|held| held.kind() == Some(RequestKind::Subscription)).count();
        self.in_flight.count(RequestKind::Subscription) + held
    }

    fn release(&mut self, position: usize) -> Option<Held> {
        let held = self.held.remove(position)?;
        self.held_bytes -= held.bytes;
        Some(held)
    }

    /// The first held request that may start.
    fn begin_next(&mut self) -> Option<ClientJsonRpcMessage> {
        let position = self.held.iter().position(|held| held.kind().is_some_and(|kind| self.in_flight.admits(kind)))?;
        let Inbound::Request(id, request) = self.release(position)?.inbound else { return None };
        self.opened |= opens_the_session(&request);
        let kind = RequestKind::of(&request);
        let watched = match &*request {
            request @ ClientRequest::SubscriptionsListenRequest(_) => watched::task_ids(request.get_meta()),
            _ => Vec::new(),
        };
        Some(ClientJsonRpcMessage::request(*request, self.in_flight.begin(id, kind, watched)))
    }

    async fn next_event(&mut self) -> Event {
        let reads = !self.input_ended && self.held.len() < MAX_HELD_FRAMES && self.held_bytes < MAX_HELD_BYTES;
        // Usually a message is there, and nothing else has to be waited for.
        if reads
            && !self.session.is_cancelled()
            && (self.is_draining || !self.draining.is_cancelled())
            && let Some(event) = read_one(&mut self.frames, &mut self.reading, &self.span).now_or_never()
        {
            return event;
        }
        tokio::select! {
            event = read_one(&mut self.frames, &mut self.reading, &self.span), if reads => event,
            () = self.in_flight.freed.notified() => Event::Freed,
            () = self.hang_up.wait(&self.span), if !reads => Event::Gone,
            () = self.session.cancelled() => Event::Gone,
            () = self.draining.cancelled(), if !self.input_ended && !self.is_draining => Event::Draining,
        }
    }

    async fn receive_one(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if self.refusal.is_some() {
                let queue = self.outbound.queue()?;
                let place = self.session.run_until_cancelled(queue.reserve()).await?.ok()?;
                if let Some(refusal) = self.refusal.take() {
                    place.send(Outgoing::Refusal(refusal));
                }
            }
            if let Some(request) = self.begin_next() {
                return Some(request);
            }
            if self.input_ended && self.held.is_empty() && self.in_flight.is_empty() {
                return None;
            }
            match self.next_event().await {
                Event::Read(held) => {
                    if let Some(message) = self.take_in(held) {
                        return Some(message);
                    }
                }
                Event::Freed => {}
                Event::EndOfInput => {
                    self.input_ended = true;
                    self.draining.cancel();
                }
                Event::Draining => {
                    // Accepted requests are answered, further ones are not read. The client's next write fails at once, so that its shim sends it to
                    // the next daemon.
                    self.is_draining = true;
                    self.frames.stop();
                }
                Event::Gone => {
                    // rmcp alone would let handlers run on for seconds.
                    self.session.cancel();
                    return None;
                }
            }
        }
    }
}

impl Transport<RoleServer> for SocketTransport {
    type Error = Infallible;

    fn name() -> Cow<'static, str> {
        "socket".into()
    }

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let waiting = self.outbound.try_send(message).map(|(queue, message, share)| {
            let (in_flight, answered) = (self.in_flight.clone(), outbound::request_of(&message).cloned());
            Box::pin(async move {
                tokio::select! {
                    // A writer that has ended means that the client is gone and the session ends.
                    place = queue.reserve() => place.map(|place| place.send(Outgoing::Message(message, share))).unwrap_or_default(),
                    // Not awaited: a client that does not read must not delay the next cancellation.
                    () = in_flight.until_cancelled(answered) => {}
                }
            })
        });
        async {
            if let Some(waiting) = waiting {
                waiting.await;
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.receive_one().await
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.outbound.close().await;
        Ok(())
    }
}

impl Held {
    fn is_request(&self, id: &RequestId) -> bool {
        matches!(&self.inbound, Inbound::Request(held, _) if held == id)
    }

    fn kind(&self) -> Option<RequestKind> {
        match &self.inbound {
            Inbound::Request(_, request) => Some(RequestKind::of(request)),
            _ => None,
        }
    }
}

/// Reads one frame. Cancel safe: a partial frame stays in the arguments.
async fn read_one(frames: &mut Frames, reading: &mut Option<JoinHandle<Held>>, span: &Span) -> Event {
    if reading.is_none() {
        match frames.next().await {
            Ok(Some(Frame::Line(line))) if line.len() > LARGE_FRAME_BYTES => {
                *reading = Some(tokio::task::spawn_blocking(move || read_line(&line)));
            }
            Ok(Some(Frame::Line(line))) => return Event::Read(read_line(&line)),
            Ok(Some(Frame::TooLong { id })) => {
                let message = format!("The message is longer than the limit of {} MiB.", MAX_FRAME_BYTES >> 20);
                let id = id.map(message::rmcp_id);
                let inbound = Inbound::Refused(Refusal::new(id, ErrorCode::INVALID_REQUEST, message));
                return Event::Read(Held { inbound, bytes: 0 });
            }
            Ok(None) => return Event::EndOfInput,
            Err(error) => {
                span.in_scope(|| tracing::debug!(%error, "cannot read from the client"));
                return Event::Gone;
            }
        }
    }
    let Some(handle) = reading else { return Event::Gone };
    let read = handle.await;
    *reading = None;
    match read {
        Ok(held) => Event::Read(held),
        Err(error) => {
            span.in_scope(|| tracing::error!(%error, "cannot parse a frame"));
            Event::Gone
        }
    }
}

fn read_line(line: &[u8]) -> Held {
    Held { inbound: message::read(line), bytes: line.len() }
}

/// After which request rmcp serves a session: `initialize`, or any that carries what the handshake would have told, except
/// for the two that may come before either.
fn opens_the_session(request: &ClientRequest) -> bool {
    match request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        request => {
            let meta = request.get_meta();
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
                && meta.protocol_version().is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
        }
    }
}
