//! One HTTP connection: admission, deadlines and bounds, and the settings of MCP over it. Works with any handler.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, GateRefusal};
use super::visitor::Visitor;

/// The longest wait for a request's head. It also bounds how long a connection may be idle.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// The longest wait for a request's body.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// The most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most bytes of a request's body: as many as of a line on the socket.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

pub type Body = BoxBody<Bytes, Infallible>;

/// Answers the requests that the gate admits with `respond`, until the connection closes, or until `draining` and its requests are answered.
/// `gone` ends what its requests have started.
pub async fn serve<R>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    gate: Arc<Gate>,
    visitor: Visitor,
    respond: impl Fn(Request<Incoming>) -> R,
    draining: CancellationToken,
    gone: CancellationToken,
) where
    R: Future<Output = Response<Body>>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let admitted = gate.admit(request.headers()).and_then(|()| match visitor.admit() {
            true => Ok(()),
            false => Err(GateRefusal::Full),
        });
        let answer = admitted.map(|()| respond(request));
        async {
            Ok::<_, Infallible>(match answer {
                Ok(answer) => answer.await,
                Err(refusal) => refusal.into(),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = gone.cancelled() => return,
        () = visitor.turned_away() => return,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection => served,
                () = gone.cancelled() => return,
                () = visitor.turned_away() => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
    gone.cancel();
}

/// Reads the whole body of a request, within bounds of size and time.
pub async fn whole(request: Request<Incoming>) -> Result<Request<Full<Bytes>>, Response<Body>> {
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_DEADLINE, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, Full::new(body.to_bytes()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "the request is longer than 16 MiB"))
        }
        Ok(Err(_)) => Err(problem(StatusCode::BAD_REQUEST, "the request's body cannot be read")),
        Err(_) => Err(problem(StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time")),
    }
}

/// The settings of MCP over HTTP: without sessions in both protocol eras.
pub fn mcp_config(gate: &Gate, gone: CancellationToken) -> StreamableHttpServerConfig {
    // The gate checks hosts and origins. rmcp checks them again.
    StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_cancellation_token(gone)
        .with_max_request_body_bytes(MAX_BODY_BYTES)
        .with_allowed_hosts(gate.hosts())
        .with_allowed_origins(gate.origins())
        .enforce_origin_validation()
}

impl From<GateRefusal> for Response<Body> {
    fn from(refusal: GateRefusal) -> Self {
        match refusal {
            GateRefusal::NoToken => {
                let mut refused = problem(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong");
                refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                refused
            }
            GateRefusal::Host => problem(StatusCode::FORBIDDEN, "the Host is none of this server's"),
            GateRefusal::Full => problem(StatusCode::SERVICE_UNAVAILABLE, "too many connections are open: close one"),
            GateRefusal::Origin => problem(StatusCode::FORBIDDEN, "requests from web pages elsewhere are refused"),
        }
    }
}

pub fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    answer(status, "application/json", json!({ "detail": detail }).to_string())
}

pub fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
