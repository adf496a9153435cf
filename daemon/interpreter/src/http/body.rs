//! Bodies: JSON answers, stored files on their way out and in.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

use super::Problem;
use super::events::Events;
use crate::files::FileStore;

/// Longest wait for the next part of a request's body.
pub const READ_DEADLINE: Duration = Duration::from_secs(60);
/// Largest file that can be stored by `PUT`, in bytes.
const FILE_LIMIT: u64 = 256 * 1024 * 1024;
const CHUNK: usize = 64 * 1024;

/// What is answered with: something short, a stored file read as it is sent, or an execution told as it happens.
pub enum Body {
    Whole(Full<Bytes>),
    File(File),
    Events(Events),
}

impl Default for Body {
    fn default() -> Self {
        Body::Whole(Full::default())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Body::Whole(whole) => Pin::new(whole).poll_frame(context).map_err(|never| match never {}),
            Body::Events(events) => events.poll_next(context).map(|line| line.map(|line| line.map(Frame::data))),
            Body::File(file) => {
                let mut chunk = BytesMut::zeroed(CHUNK);
                let mut buffer = ReadBuf::new(&mut chunk);
                ready!(Pin::new(file).poll_read(context, &mut buffer))?;
                let length = buffer.filled().len();
                chunk.truncate(length);
                Poll::Ready((length > 0).then(|| Ok(Frame::data(chunk.freeze()))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(whole) => whole.size_hint(),
            Body::File(_) | Body::Events(_) => SizeHint::default(),
        }
    }
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Problem> {
    let text = serde_json::to_vec(value).map_err(failed)?;
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::Whole(Full::from(text)))
        .map_err(failed)
}

/// `GET /v1/files/{id}`.
pub(super) fn file(store: &FileStore, id: &str) -> Result<Response<Body>, Problem> {
    let Some(file) = store.get(id).map_err(failed)? else {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no file with the id {id:?}")));
    };
    let length = file.metadata().map_err(failed)?.len();
    Response::builder()
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, length)
        .body(Body::File(File::from_std(file)))
        .map_err(failed)
}

/// `PUT /v1/files/{id}`: the id must be the content's SHA-256.
pub(super) async fn put(
    store: &Arc<FileStore>,
    id: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Problem> {
    let (sender, receiver) = mpsc::channel(4);
    let store = store.clone();
    let expected = id.to_owned();
    let writer = tokio::task::spawn_blocking(move || {
        store.put(Chunks { receiver, chunk: Bytes::new() }, FILE_LIMIT, Some(&expected))
    });
    let mut body = request.into_body();
    let sent = async {
        while let Some(frame) = tokio::time::timeout(READ_DEADLINE, body.frame()).await.map_err(io::Error::other)? {
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            if sender.send(Ok(data)).await.is_err() {
                // The writer has given up, and says why.
                break;
            }
        }
        Ok::<(), io::Error>(())
    };
    if let Err(error) = sent.await {
        // Half a file must not look like a whole one.
        let _ = sender.send(Err(error)).await;
    }
    drop(sender);
    let stored = writer.await.map_err(failed)?.map_err(|error| {
        let status = match error.kind() {
            // Also what is left of a connection that was dropped: half a file has another id.
            io::ErrorKind::InvalidData => StatusCode::UNPROCESSABLE_ENTITY,
            io::ErrorKind::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, format!("the file was not stored: {error}"))
    })?;
    json(StatusCode::CREATED, &serde_json::json!({ "id": stored }))
}

pub(super) fn failed(error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// A body that arrives, as a blocking reader sees it.
struct Chunks {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
