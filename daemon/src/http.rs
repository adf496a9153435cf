//! HTTP beside the lines of MCP: `/mcp` (Streamable HTTP, without sessions in both protocol eras), `/healthz` and `/metrics`. On the
//! user's own socket to look inside with curl; on TCP when asked for, and then for those who know the token.

mod gate;
mod token;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::server::Server;
pub use gate::{Gate, Settings};
pub use token::TokenError;

/// Longest wait for a request's head, which is also how long an idle connection is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// A request's head, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The same as for a line on the socket.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

pub type Body = BoxBody<Bytes, Infallible>;
type Mcp = StreamableHttpService<Server, NeverSessionManager>;

/// Serves one connection until it closes, or `draining` and its requests are answered; `gone` ends what its requests have started.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: Server,
    gate: Arc<Gate>,
    draining: CancellationToken,
    gone: CancellationToken,
) {
    let mcp = mcp(server.clone(), &gate, gone.clone());
    let service = service_fn(move |request| {
        let (server, gate, mcp) = (server.clone(), gate.clone(), mcp.clone());
        async move { Ok::<_, Infallible>(respond(request, &server, &gate, &mcp).await) }
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
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection => served,
                () = gone.cancelled() => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
    gone.cancel();
}

fn mcp(server: Server, gate: &Gate, gone: CancellationToken) -> Mcp {
    // Hosts and origins are the gate's; rmcp looks at them once more.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_cancellation_token(gone)
        .with_max_request_body_bytes(MAX_BODY_BYTES)
        .with_allowed_hosts(gate.hosts())
        .with_allowed_origins(gate.origins())
        .enforce_origin_validation();
    StreamableHttpService::new(move || Ok(server.clone()), Arc::new(NeverSessionManager::default()), config)
}

async fn respond(request: Request<Incoming>, server: &Server, gate: &Gate, mcp: &Mcp) -> Response<Body> {
    if let Err(refusal) = gate.admit(request.headers()) {
        return refusal.into();
    }
    match (request.method(), request.uri().path()) {
        (_, "/mcp") => mcp.handle(request).await,
        (&Method::GET, "/healthz") => {
            let health = json!({
                "status": "ok",
                "version": env!("CARGO_PKG_VERSION"),
                "process": std::process::id(),
                "interpreter": server.interpreter().await,
            });
            answer(StatusCode::OK, "application/json", health.to_string())
        }
        (&Method::GET, "/metrics") => answer(StatusCode::OK, metrics::CONTENT_TYPE, server.metrics().await),
        (_, "/healthz" | "/metrics") => {
            let mut refused = problem(StatusCode::METHOD_NOT_ALLOWED, "use GET");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            refused
        }
        _ => problem(StatusCode::NOT_FOUND, "there is /mcp, /healthz and /metrics"),
    }
}

impl From<gate::Refusal> for Response<Body> {
    fn from(refusal: gate::Refusal) -> Self {
        match refusal {
            gate::Refusal::NoToken => {
                let mut refused = problem(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong");
                refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                refused
            }
            gate::Refusal::Host => problem(StatusCode::FORBIDDEN, "the Host is none of this server's"),
            gate::Refusal::Origin => problem(StatusCode::FORBIDDEN, "requests from web pages elsewhere are refused"),
        }
    }
}

fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    answer(status, "application/json", json!({ "detail": detail }).to_string())
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
