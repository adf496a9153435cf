//! Answers over HTTP count towards the bound of what clients have not read, until they are written.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use hyper::{Response, StatusCode};

use super::connection::{Body, problem};
use crate::transport::{Share, Unread};

/// A smaller answer is not counted: a connection has one at a time.
const SMALL_BYTES: u64 = 64 * 1024;

/// The bytes of an answer, and their share, which hyper drops together once they are written.
struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Counts an answer whose length is known. Beyond a bound it becomes an error.
pub async fn held(response: Response<Body>, unread: &Unread) -> Response<Body> {
    let Some(length) = response.body().size_hint().exact().filter(|length| *length > SMALL_BYTES) else {
        return response;
    };
    match unread.hold(length as usize) {
        Ok(share) => {
            let (head, body) = response.into_parts();
            // It is in memory as a whole.
            let Ok(body) = body.collect().await;
            let bytes = Bytes::from_owner(Held { bytes: body.to_bytes(), _share: share });
            Response::from_parts(head, Full::new(bytes).boxed())
        }
        Err(reason) => problem(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}
