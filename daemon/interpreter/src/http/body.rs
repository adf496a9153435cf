//! Bodies of answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf, Take};

use super::event_lines::EventLines;
use super::problem::Problem;

/// Longest wait for the next part of a request's body.
pub const READ_DEADLINE: Duration = Duration::from_secs(60);
/// How much of a file is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// A short text, a stored file that is read while it is sent, or the events of an execution.
pub enum Body {
    Whole(Full<Bytes>),
    File(Take<File>),
    Events(EventLines),
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

pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Problem> {
    let text = serde_json::to_vec(value).map_err(Problem::internal)?;
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::Whole(Full::from(text)))
        .map_err(Problem::internal)
}

impl From<Problem> for Response<Body> {
    fn from(problem: Problem) -> Self {
        json(problem.status, &serde_json::json!({ "detail": problem.detail })).unwrap_or_else(|_| {
            let mut empty = Response::new(Body::default());
            *empty.status_mut() = problem.status;
            empty
        })
    }
}
