//! The writer of a session. It sends messages in order, one line each, and never an answer to a cancelled request. A client that does not
//! read delays nobody else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    ContentBlock, JsonRpcMessage, NumberOrString, RequestId, ResourceContents, ServerJsonRpcMessage, ServerResult,
    TaskPayload,
};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::in_flight::InFlight;
use super::message::Refusal;
use super::socket::Socket;
use super::unread::{Share, Unread};
use super::watched::SUBSCRIPTION_ID;

/// The most queued messages. Further ones wait where they were made, at most one for each request in flight.
const QUEUED_MESSAGES: usize = 8;
/// Queued messages are written together up to this size.
const MAX_JOINED_BYTES: usize = 64 * 1024;
/// The usual size of an answer.
const USUAL_BYTES: usize = 1024;
/// How long a closing session waits for the client to read what is queued.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);
/// A larger result is serialized off the event loop, so that other clients do not wait for it.
const LARGE_RESULT_BYTES: usize = 256 * 1024;

pub enum Outgoing {
    /// A message, with its share of the bytes that the client has not read.
    Message(Box<ServerJsonRpcMessage>, Share),
    Refusal(Refusal),
}

/// The request that a message answers.
pub fn request_of(message: &ServerJsonRpcMessage) -> Option<&RequestId> {
    match message {
        JsonRpcMessage::Response(response) => Some(&response.id),
        JsonRpcMessage::Error(error) => error.id.as_ref(),
        _ => None,
    }
}

impl Outgoing {
    fn is_large(&self) -> bool {
        matches!(self, Self::Message(message, _) if is_large(message))
    }
}

pub struct Outbound {
    queue: Option<mpsc::Sender<Outgoing>>,
    writer: JoinHandle<()>,
    unread: Unread,
}

impl Outbound {
    /// Starts the writer. It ends the session when the client does not accept data any more.
    pub fn start(socket: Arc<Socket>, in_flight: Arc<InFlight>, session: CancellationToken, span: Span) -> Self {
        let (queue, mut messages) = mpsc::channel(QUEUED_MESSAGES);
        let writer = tokio::spawn(async move {
            let written = session.run_until_cancelled(write_all(&socket, &in_flight, &mut messages)).await;
            if let Some(Err(error)) = written {
                span.in_scope(|| tracing::debug!(%error, "client cannot be written to"));
                session.cancel();
            }
        });
        Self { queue: Some(queue), writer, unread: Unread::default() }
    }

    pub fn queue(&self) -> Option<mpsc::Sender<Outgoing>> {
        self.queue.clone()
    }

    /// Queues a message; if there is no room, returns it with the queue in which it has to wait.
    pub fn try_send(
        &self,
        message: ServerJsonRpcMessage,
    ) -> Option<(mpsc::Sender<Outgoing>, Box<ServerJsonRpcMessage>, Share)> {
        let queue = self.queue.as_ref()?;
        let (message, share) = self.unread.count(message);
        match queue.try_send(Outgoing::Message(Box::new(message), share)) {
            Err(TrySendError::Full(Outgoing::Message(message, share))) => Some((queue.clone(), message, share)),
            // Sent, or the client is gone, which the writer has logged.
            _ => None,
        }
    }

    pub async fn close(&mut self) {
        self.queue = None;
        if tokio::time::timeout(FLUSH_DEADLINE, &mut self.writer).await.is_err() {
            self.writer.abort();
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if self.queue.is_some() {
            self.writer.abort();
        }
    }
}

/// A request whose answer is among the lines to be written.
struct Answered {
    number: RequestId,
    _share: Share,
}

async fn write_all(socket: &Socket, in_flight: &InFlight, messages: &mut mpsc::Receiver<Outgoing>) -> io::Result<()> {
    while let Some(first) = messages.recv().await {
        // A new buffer each time, so that an idle session holds none.
        let mut lines = Vec::with_capacity(USUAL_BYTES * (1 + messages.len()));
        let mut answered = Vec::new();
        // Whatever is queued goes out in the same write.
        let mut next = Some(first);
        while let Some(outgoing) = next {
            if outgoing.is_large() {
                // It takes time, in which a request whose answer waits here may be cancelled.
                flush(socket, in_flight, &mut lines, &mut answered).await?;
            }
            append(outgoing, in_flight, &mut lines, &mut answered).await?;
            next = if lines.len() < MAX_JOINED_BYTES { messages.try_recv().ok() } else { None };
        }
        flush(socket, in_flight, &mut lines, &mut answered).await?;
    }
    Ok(())
}

async fn flush(
    socket: &Socket,
    in_flight: &InFlight,
    lines: &mut Vec<u8>,
    answered: &mut Vec<Answered>,
) -> io::Result<()> {
    socket.write(lines).await?;
    // Not earlier: a client that does not read keeps its requests in flight, and is read from no further.
    answered.drain(..).for_each(|answered| in_flight.finish(&answered.number));
    lines.clear();
    Ok(())
}

/// Appends a message to the lines to be written, and the request that it answers to `answered`.
async fn append(
    outgoing: Outgoing,
    in_flight: &InFlight,
    lines: &mut Vec<u8>,
    answered: &mut Vec<Answered>,
) -> io::Result<()> {
    let (mut message, share) = match outgoing {
        Outgoing::Refusal(refusal) => {
            lines.extend(refusal.to_line());
            return Ok(());
        }
        Outgoing::Message(message, share) => (message, share),
    };
    let Some(inside) = (match &mut *message {
        JsonRpcMessage::Response(response) => Some(&mut response.id),
        JsonRpcMessage::Error(error) => error.id.as_mut(),
        _ => None,
    }) else {
        lines.extend(notification(*message, in_flight)?.unwrap_or_default());
        return Ok(());
    };
    let number = inside.clone();
    let Some(id) = in_flight.id_of(&number) else { return Ok(()) };
    *inside = id.clone();
    name_subscription(&mut message, id);
    if is_large(&message) {
        let line =
            tokio::task::spawn_blocking(move || serde_json::to_vec(&message)).await.map_err(io::Error::other)??;
        // Serializing took time: the request may have been cancelled meanwhile.
        if in_flight.id_of(&number).is_none() {
            return Ok(());
        }
        lines.extend(line);
    } else {
        serde_json::to_writer(&mut *lines, &message)?;
    }
    lines.push(b'\n');
    answered.push(Answered { number, _share: share });
    Ok(())
}

/// A notification as a line; none if its subscription was cancelled.
fn notification(message: ServerJsonRpcMessage, in_flight: &InFlight) -> io::Result<Option<Vec<u8>>> {
    let mut message = serde_json::to_value(message)?;
    if let Some(subscription) = message.pointer_mut("/params/_meta").and_then(|meta| meta.get_mut(SUBSCRIPTION_ID)) {
        let Some(inside) = subscription.as_i64().map(NumberOrString::Number) else { return Ok(None) };
        let Some(id) = in_flight.id_of(&inside) else { return Ok(None) };
        *subscription = id.into_json_value();
        let watched = in_flight.watched(&inside);
        if message["method"] == "notifications/subscriptions/acknowledged" && !watched.is_empty() {
            message["params"]["notifications"]["taskIds"] = watched.into();
        }
    }
    let mut line = serde_json::to_vec(&message)?;
    line.push(b'\n');
    Ok(Some(line))
}

/// Puts the client's id into the message that ends a subscription.
fn name_subscription(message: &mut ServerJsonRpcMessage, id: RequestId) {
    if let JsonRpcMessage::Response(response) = message
        && let ServerResult::SubscriptionsListenResult(result) = &mut response.result
    {
        result.meta.set_subscription_id(id);
    }
}

fn is_large(message: &ServerJsonRpcMessage) -> bool {
    let JsonRpcMessage::Response(response) = message else { return false };
    match &response.result {
        ServerResult::CallToolResult(result) => result.content.iter().any(|block| match block {
            ContentBlock::Text(text) => text.text.len() > LARGE_RESULT_BYTES,
            _ => false,
        }),
        ServerResult::ReadResourceResult(result) => result.contents.iter().any(|contents| match contents {
            ResourceContents::TextResourceContents { text, .. } => text.len() > LARGE_RESULT_BYTES,
            ResourceContents::BlobResourceContents { blob, .. } => blob.len() > LARGE_RESULT_BYTES,
            _ => false,
        }),
        // The message may hold a whole result.
        ServerResult::GetTaskResult(result) => matches!(result.task.payload, TaskPayload::Completed { .. }),
        _ => false,
    }
}
