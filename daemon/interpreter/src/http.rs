//! The interpreter API over HTTP/1.1, on a Unix socket or on TCP: `POST /v1/execute`, `GET` and `PUT /v1/files/{id}`,
//! `GET /healthz`. An execution is answered as JSON, or told as it happens where `application/x-ndjson` is accepted.
//!
//! A connection that closes takes its execution with it. Errors are JSON: `{"detail": "…"}`.

mod body;
mod connections;
mod events;

use std::sync::Arc;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, RANGE};
use hyper::{Method, Request, Response, StatusCode};

use self::body::{Body, file, json, put};
pub use self::connections::{DRAIN_DEADLINE, Leave, Listener, run};
use crate::execution::Executed;
use crate::executor::{ExecuteError, Executor};
use crate::slot::SlotError;
use crate::wire::{EVENTS, EXECUTION_ID_HEADER, ExecuteRequest, OUTCOME_HEADER, is_execution_id};

/// Longest body of `POST /v1/execute`, in bytes.
const REQUEST_LIMIT: usize = 16 * 1024 * 1024;

/// Answers one request. `browser_reachable` is true on TCP, where a web page could send requests too.
async fn respond(executor: Arc<Executor>, request: Request<Incoming>, browser_reachable: bool) -> Response<Body> {
    if browser_reachable && let Err(problem) = check_origin(&request) {
        return problem.into();
    }
    let path = request.uri().path().to_owned();
    let answer = match (request.method(), path.as_str()) {
        (&Method::POST, "/v1/execute") => execute(executor, request).await,
        (&Method::GET, "/healthz") => health(&executor).await,
        // Without a look at Python, which may take its time or be the very thing that is wrong.
        (&Method::GET, "/process") => json(StatusCode::OK, &serde_json::json!({ "process": std::process::id() })),
        (method, path) => match (path.strip_prefix("/v1/files/"), method) {
            (Some(id), &Method::GET) => file(&executor.files, id, request.headers().get(RANGE)).await,
            (Some(id), &Method::PUT) => put(&executor.files, id, request).await,
            (Some(_), _) => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use GET or PUT")),
            (None, _) if path == "/v1/execute" => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use POST")),
            (None, _) if path == "/healthz" => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "use GET")),
            (None, _) => Err(Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))),
        },
    };
    answer.unwrap_or_else(Response::from)
}

async fn execute(executor: Arc<Executor>, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
    // Demanded because a web page cannot send it to another origin without asking first.
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json"));
    }
    let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let as_events = accepted.split(',').any(|range| range.split(';').next().is_some_and(|kind| kind.trim() == EVENTS));
    let execution_id = request.headers().get(EXECUTION_ID_HEADER).and_then(|value| value.to_str().ok());
    let execution_id = execution_id.filter(|id| is_execution_id(id)).map(str::to_owned);
    let body = Limited::new(request.into_body(), REQUEST_LIMIT).collect();
    let body = match tokio::time::timeout(body::READ_DEADLINE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("the request is longer than {REQUEST_LIMIT} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Ok(Err(error)) => return Err(Problem::new(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time")),
    };
    let request: ExecuteRequest = serde_json::from_slice(&body).map_err(|error| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("the request is not what POST /v1/execute takes: {error}"),
        )
    })?;
    if as_events {
        return events::execute(executor, request, execution_id).await;
    }
    let executed = executor.execute(request, execution_id.as_deref(), None).await;
    let Executed { response, outcome } =
        executed.map_err(|error| Problem::of_execution(&error, execution_id.as_deref()))?;
    let mut answer = json(StatusCode::OK, &response)?;
    answer.headers_mut().insert(OUTCOME_HEADER, HeaderValue::from_static(outcome.as_str()));
    Ok(answer)
}

async fn health(executor: &Executor) -> Result<Response<Body>, Problem> {
    // Opening one has attacked a slot of it: there is none without its protections.
    let workshop = executor.workshop().await?;
    let limits = &workshop.policy.limits;
    let (is_kept, because) = workshop.groups.as_ref().map(|groups| groups.describe()).unwrap_or_default();
    json(
        StatusCode::OK,
        &serde_json::json!({
            "status": "ok",
            "python": workshop.python_version,
            "preloaded": workshop.launch.preload,
            "libraries": workshop.libraries().await,
            "mounts": executor.mounts(),
            "limits": {
                "timeout_seconds": limits.timeout.as_secs_f64(),
                "memory_bytes": limits.memory,
                "workspace_bytes": limits.workspace,
                "processes": limits.processes,
            },
            "concurrency": executor.concurrency(),
            "network": workshop.policy.network,
            "protections": workshop.protections,
            "waiting_for_memory": executor.waiting_for_memory(),
            "memory_limit": if is_kept { "control group" } else { "watched" },
            "memory_limit_because": because,
            "slots": executor.slots(),
        }),
    )
}

/// Refuses what only a browser sends: a page's origin, or a host name that was made to lead here.
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

/// An error as the caller reads it.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem { status, detail: detail.into() }
    }
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

impl Problem {
    /// Also tells the log.
    fn of_execution(error: &ExecuteError, execution_id: Option<&str>) -> Self {
        let status = match error {
            ExecuteError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            // What the machine lacks, now or until its owner mends it.
            ExecuteError::QueueFull
            | ExecuteError::Busy
            | ExecuteError::NoMemory
            | ExecuteError::Python(_)
            | ExecuteError::Workshop(_)
            | ExecuteError::Probe(_)
            | ExecuteError::Slot(
                SlotError::Failed(_) | SlotError::SpawnerGone(_) | SlotError::Short(_) | SlotError::Slow,
            ) => StatusCode::SERVICE_UNAVAILABLE,
            ExecuteError::Slot(SlotError::Died | SlotError::NotGone | SlotError::Io(_))
            | ExecuteError::Store { .. }
            | ExecuteError::Workspace { .. }
            | ExecuteError::Stuck => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::warn!(execution_id, %error, status = status.as_u16(), "not executed");
        Problem::new(status, error.to_string())
    }
}

impl From<ExecuteError> for Problem {
    fn from(error: ExecuteError) -> Self {
        Problem::of_execution(&error, None)
    }
}
