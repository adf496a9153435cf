//! Bodies: JSON answers, stored files on their way out and in.

use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, Take};
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
    File(Take<File>),
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

/// `GET /v1/files/{id}`; of a `Range: bytes=FIRST-LAST` that part.
pub(super) async fn file(
    store: &Arc<FileStore>,
    id: &str,
    range: Option<&HeaderValue>,
) -> Result<Response<Body>, Problem> {
    let (store, wanted) = (store.clone(), id.to_owned());
    // Opening takes the disk's time.
    let opened = tokio::task::spawn_blocking(move || {
        let Some(file) = store.get(&wanted)? else { return Ok(None) };
        let total = file.metadata()?.len();
        Ok::<_, io::Error>(Some((file, total)))
    });
    let Some((mut file, total)) = opened.await.map_err(failed)?.map_err(failed)? else {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no file with the id {id:?}")));
    };
    let answer = Response::builder().header(CONTENT_TYPE, "application/octet-stream").header(ACCEPT_RANGES, "bytes");
    // What is no such range is ignored, as HTTP has it.
    let Some((first, last)) = range.and_then(bounds) else {
        return answer.header(CONTENT_LENGTH, total).body(Body::File(File::from_std(file).take(total))).map_err(failed);
    };
    if first >= total {
        let answer = answer.status(StatusCode::RANGE_NOT_SATISFIABLE);
        return answer.header(CONTENT_RANGE, format!("bytes */{total}")).body(Body::default()).map_err(failed);
    }
    let last = last.min(total - 1);
    let length = last - first + 1;
    file.seek(SeekFrom::Start(first)).map_err(failed)?;
    let answer = answer.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_LENGTH, length);
    let answer = answer.header(CONTENT_RANGE, format!("bytes {first}-{last}/{total}"));
    answer.body(Body::File(File::from_std(file).take(length))).map_err(failed)
}

fn bounds(range: &HeaderValue) -> Option<(u64, u64)> {
    let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    let first = first.parse().ok()?;
    (first <= last).then_some((first, last))
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
