//! The interpreter API over HTTP/1.1, on a Unix socket or on TCP: `POST /v1/execute`, `DELETE /v1/executions/{id}`, `GET` and
//! `PUT /v1/files/{id}`, `GET` and `DELETE /v1/preload`, `GET /healthz`. An execution is answered as one JSON object, or as a stream of events if the request accepts
//! `application/x-ndjson`.
//!
//! Closing the connection ends its execution. Errors are JSON: `{"detail": "…"}`.

mod body;
mod connections;
mod event_lines;
mod events;
mod learned;
mod problem;
mod stored_files;

use std::sync::Arc;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, RANGE};
use hyper::{Method, Request, Response, StatusCode};

use self::body::{Body, READ_DEADLINE, json};
pub use self::connections::{DRAIN_DEADLINE, Leave, Listener, run};
use self::problem::Problem;
use crate::caller::Caller;
use crate::errors::ExecuteError;
use crate::executor::Executor;
use crate::outcome::Executed;
use crate::wire::{EVENTS, EXECUTIONS_PATH, ExecuteRequest, OUTCOME_HEADER, PRELOAD_PATH};

/// Longest body of `POST /v1/execute`, in bytes.
const REQUEST_LIMIT: usize = 16 * 1024 * 1024;

/// Answers one request. `browser_reachable` is true on TCP, where a web page could send requests as well.
async fn respond(executor: Arc<Executor>, request: Request<Incoming>, browser_reachable: bool) -> Response<Body> {
    if browser_reachable && let Err(problem) = check_origin(&request) {
        return problem.into();
    }
    let path = request.uri().path().to_owned();
    let answer = match (request.method(), path.as_str()) {
        (&Method::POST, "/v1/execute") => execute(executor, request).await,
        (&Method::GET, "/healthz") => health(&executor).await,
        (&Method::GET, PRELOAD_PATH) => learned::get(&executor),
        (&Method::DELETE, PRELOAD_PATH) => learned::forget(&executor).await,
        // Does not touch Python, which may be slow or broken.
        (&Method::GET, "/process") => json(StatusCode::OK, &serde_json::json!({ "process": std::process::id() })),
        (&Method::DELETE, path) if path.starts_with(EXECUTIONS_PATH) => end(&executor, &path[EXECUTIONS_PATH.len()..]),
        (method, path) => match (path.strip_prefix("/v1/files/"), method) {
            (Some(id), &Method::GET) => stored_files::get(&executor.files, id, request.headers().get(RANGE)).await,
            (Some(id), &Method::PUT) => stored_files::put(&executor.files, id, request).await,
            (Some(_), _) => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use GET or PUT")),
            (None, _) if path == "/v1/execute" => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use POST")),
            (None, _) if path.starts_with(EXECUTIONS_PATH) => {
                Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use DELETE"))
            }
            (None, _) if path == PRELOAD_PATH => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use GET or DELETE")),
            (None, _) if path == "/healthz" => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use GET")),
            (None, _) => Err(Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))),
        },
    };
    answer.unwrap_or_else(Response::from)
}

async fn execute(executor: Arc<Executor>, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
    // A web page cannot send this type to another origin without a preflight request, which is refused here.
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json"));
    }
    let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let as_events = accepted.split(',').any(|range| range.split(';').next().is_some_and(|kind| kind.trim() == EVENTS));
    let caller = Caller::of(request.headers());
    let body = Limited::new(request.into_body(), REQUEST_LIMIT).collect();
    let body = match tokio::time::timeout(READ_DEADLINE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("the request is longer than {REQUEST_LIMIT} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Ok(Err(error)) => return Err(Problem::new(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time")),
    };
    let request: ExecuteRequest = serde_json::from_slice(&body).map_err(|error| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("the request is not valid for POST /v1/execute: {error}"),
        )
    })?;
    if as_events {
        return events::execute(executor, request, caller).await;
    }
    let executed = executor.execute(request, &caller, None).await;
    let Executed { response, outcome } =
        executed.map_err(|error| Problem::of_execution(&error, caller.execution_id.as_deref()))?;
    let mut answer = json(StatusCode::OK, &response)?;
    answer.headers_mut().insert(OUTCOME_HEADER, HeaderValue::from_static(outcome.as_str()));
    Ok(answer)
}

/// Ends an execution, whose own request is then answered.
fn end(executor: &Executor, id: &str) -> Result<Response<Body>, Problem> {
    match executor.running.end(id) {
        true => json(StatusCode::OK, &serde_json::json!({})),
        false => Err(Problem::new(StatusCode::NOT_FOUND, format!("no execution {id:?} runs"))),
    }
}

async fn health(executor: &Executor) -> Result<Response<Body>, Problem> {
    // A workshop exists only after an attack on one of its slots has failed.
    let workshop = executor.workshop().await.map_err(ExecuteError::from)?;
    let spawner = &workshop.spawner;
    let limits = &spawner.policy.limits;
    let learned = executor.learned();
    let (is_kept, because) = spawner.groups.as_ref().map(|groups| groups.describe()).unwrap_or_default();
    json(
        StatusCode::OK,
        &serde_json::json!({
            "status": "ok",
            "python": workshop.python_version,
            "preloaded": spawner.launch.preload,
            "learned": workshop.learned,
            "left_out": learned.left_out,
            "libraries": workshop.libraries().await,
            "mounts": executor.mounts(),
            "limits": {
                "timeout_seconds": limits.timeout.as_secs_f64(),
                "memory_bytes": limits.memory,
                "workspace_bytes": limits.workspace,
                "processes": limits.processes,
            },
            "concurrency": executor.concurrency(),
            "network": spawner.policy.network,
            "protections": workshop.protections,
            "waiting_for_memory": executor.waiting_for_memory(),
            "memory_limit": if is_kept { "control group" } else { "watched" },
            "memory_limit_because": because,
            "slots": executor.slots(),
        }),
    )
}

/// Refuses requests of web pages: those with an origin, and those for another host name, which DNS rebinding may have led here.
fn check_origin(request: &Request<Incoming>) -> Result<(), Problem> {
    if request.headers().contains_key(ORIGIN) || request.headers().contains_key("sec-fetch-site") {
        return Err(Problem::new(StatusCode::FORBIDDEN, "requests from web pages are refused"));
    }
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    match name {
        "localhost" | "127.0.0.1" | "[::1]" => Ok(()),
        _ => Err(Problem::new(StatusCode::FORBIDDEN, format!("the host {host:?} is not this machine's loopback"))),
    }
}
