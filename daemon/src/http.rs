//! HTTP: `/mcp` (Streamable HTTP, without sessions in both protocol eras), `/healthz`, `/status` and `/metrics`. On the user's socket, and on
//! TCP if configured, where a token is needed.

pub mod connection;
mod gate;
mod held;
mod tcp;
mod token;
mod visitor;

use std::sync::{Arc, OnceLock};

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::server::Server;
use crate::transport::Unread;
use connection::{Body, answer, mcp_config, problem, whole};
pub use gate::{Gate, Settings};
use held::held;
pub use tcp::Tcp;
pub use visitor::{Visitor, Visitors};

const MCP_PATH: &str = "/mcp";

type Mcp = StreamableHttpService<Server, NeverSessionManager>;

/// Serves one connection until it closes, or until `draining` and its requests are answered. `gone` ends what its requests have started.
/// Returns whether it sent MCP, and so was a client's.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: Server,
    gate: Arc<Gate>,
    visitor: Visitor,
    draining: CancellationToken,
    gone: CancellationToken,
) -> bool {
    let mcp = mcp(server.clone(), &gate, gone.clone());
    let (counted, unread) = (OnceLock::new(), Unread::default());
    let respond = |request: Request<Incoming>| {
        if request.uri().path() == MCP_PATH {
            counted.get_or_init(|| server.count_client());
        }
        respond(request, &server, &mcp, &unread)
    };
    connection::serve(stream, gate, visitor, respond, draining, gone).await;
    counted.get().is_some()
}

/// Answers each request with status 503 and `reason`, until `draining`.
pub async fn refuse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    reason: &str,
    draining: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(1));
    let Ok(place) = places.try_acquire_owned() else { return };
    let respond = |_| async { problem(StatusCode::SERVICE_UNAVAILABLE, reason) };
    let gate = Arc::new(Gate::of_socket());
    connection::serve(stream, gate, Visitor::known(place), respond, draining, CancellationToken::new()).await;
}

fn mcp(server: Server, gate: &Gate, gone: CancellationToken) -> Mcp {
    let sessions = Arc::new(NeverSessionManager::default());
    StreamableHttpService::new(move || Ok(server.clone()), sessions, mcp_config(gate, gone))
}

async fn respond(request: Request<Incoming>, server: &Server, mcp: &Mcp, unread: &Unread) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (_, MCP_PATH) => match whole(request).await {
            Ok(request) => held(mcp.handle(request).await, unread).await,
            Err(refused) => refused,
        },
        (&Method::GET, "/healthz") => {
            let health = json!({
                "status": "ok",
                "version": env!("CARGO_PKG_VERSION"),
                "process": std::process::id(),
                "interpreter": server.interpreter().await,
            });
            answer(StatusCode::OK, "application/json", health.to_string())
        }
        (&Method::GET, "/status") => match serde_json::to_string(&server.status().await) {
            Ok(status) => answer(StatusCode::OK, "application/json", status),
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        (&Method::GET, "/metrics") => answer(StatusCode::OK, metrics::CONTENT_TYPE, server.metrics().await),
        (_, "/healthz" | "/metrics" | "/status") => {
            let mut refused = problem(StatusCode::METHOD_NOT_ALLOWED, "use GET");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            refused
        }
        _ => problem(StatusCode::NOT_FOUND, "there is /mcp, /healthz, /status and /metrics"),
    }
}
