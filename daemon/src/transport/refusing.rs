//! Serves a client that is refused: each of its requests is answered with the reason.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::ErrorCode;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::frames::{Frame, Frames};
use super::message::{self, Inbound, Refusal};
use super::socket::Socket;

/// How long a client may be silent, and how long it may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a client is answered that keeps sending. Its next connection finds another daemon, or a free place.
const LIFETIME: Duration = Duration::from_secs(3);

/// Answers every request on `stream` with `reason`, and closes it after a while. No request is lost.
pub async fn refuse(stream: UnixStream, reason: &str) -> io::Result<()> {
    let socket = Arc::new(Socket::new(stream));
    let mut frames = Frames::new(socket.clone());
    let mut is_stopped = false;
    let end = Instant::now() + LIFETIME;
    loop {
        let silent = Instant::now() + PATIENCE;
        let frame = match timeout_at(if is_stopped { silent } else { silent.min(end) }, frames.next()).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) if is_stopped => return Ok(()),
            Err(_) => {
                // What has arrived is answered. Later writes of the client fail.
                frames.stop();
                is_stopped = true;
                continue;
            }
        };
        let refusal = match frame {
            Frame::TooLong { id } => id.map(|id| refusal(message::rmcp_id(id), reason)),
            Frame::Line(line) => match message::read(&line) {
                Inbound::Request(id, _) => Some(refusal(id, reason)),
                Inbound::Refused(refusal) => Some(refusal),
                Inbound::Notification(_) | Inbound::Nothing => None,
            },
        };
        if let Some(refusal) = refusal {
            timeout(PATIENCE, socket.write(&refusal.to_line())).await??;
        }
    }
}

fn refusal(id: rmcp::model::RequestId, reason: &str) -> Refusal {
    Refusal::new(Some(id), ErrorCode::INTERNAL_ERROR, reason)
}
