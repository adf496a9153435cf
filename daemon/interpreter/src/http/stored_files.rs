//! Stored files over HTTP: `GET` and `PUT /v1/files/{id}`.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::body::{Body, READ_DEADLINE, json};
use super::problem::Problem;
use crate::files::FileStore;

/// Largest file that `PUT` stores, in bytes.
const FILE_LIMIT: u64 = 256 * 1024 * 1024;

/// `GET /v1/files/{id}`. With `Range: bytes=FIRST-LAST`, only that part.
pub async fn get(store: &Arc<FileStore>, id: &str, range: Option<&HeaderValue>) -> Result<Response<Body>, Problem> {
    let (store, wanted) = (store.clone(), id.to_owned());
    // The disk may be slow.
    let opened = tokio::task::spawn_blocking(move || {
        let Some(file) = store.get(&wanted)? else { return Ok(None) };
        let total = file.metadata()?.len();
        Ok::<_, io::Error>(Some((file, total)))
    });
    let Some((mut file, total)) = opened.await.map_err(Problem::internal)?.map_err(Problem::internal)? else {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no file with the id {id:?}")));
    };
    let answer = Response::builder().header(CONTENT_TYPE, "application/octet-stream").header(ACCEPT_RANGES, "bytes");
    // HTTP requires that a range of any other form is ignored.
    let Some((first, last)) = range.and_then(bounds) else {
        return answer
            .header(CONTENT_LENGTH, total)
            .body(Body::File(File::from_std(file).take(total)))
            .map_err(Problem::internal);
    };
    if first >= total {
        let answer = answer.status(StatusCode::RANGE_NOT_SATISFIABLE);
        return answer
            .header(CONTENT_RANGE, format!("bytes */{total}"))
            .body(Body::default())
            .map_err(Problem::internal);
    }
    let last = last.min(total - 1);
    let length = last - first + 1;
    file.seek(SeekFrom::Start(first)).map_err(Problem::internal)?;
    let answer = answer.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_LENGTH, length);
    let answer = answer.header(CONTENT_RANGE, format!("bytes {first}-{last}/{total}"));
    answer.body(Body::File(File::from_std(file).take(length))).map_err(Problem::internal)
}

fn bounds(range: &HeaderValue) -> Option<(u64, u64)> {
    let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    let first = first.parse().ok()?;
    (first <= last).then_some((first, last))
}

/// `PUT /v1/files/{id}`: the id must be the content's SHA-256.
pub async fn put(store: &Arc<FileStore>, id: &str, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
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
                // The writer has failed; its error is returned below.
                break;
            }
        }
        Ok::<(), io::Error>(())
    };
    if let Err(error) = sent.await {
        // Without an error the writer would take the file for complete.
        let _ = sender.send(Err(error)).await;
    }
    drop(sender);
    let stored = writer.await.map_err(Problem::internal)?.map_err(|error| {
        let status = match error.kind() {
            // The id is not that of the content. So is half a file of a dropped connection.
            io::ErrorKind::InvalidData => StatusCode::UNPROCESSABLE_ENTITY,
            io::ErrorKind::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, format!("the file was not stored: {error}"))
    })?;
    json(StatusCode::CREATED, &serde_json::json!({ "id": stored }))
}

/// A request's body as a blocking reader.
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
