//! The HTTP client of one interpreter. It keeps connections warm, reads answers within bounds, and never sends a request twice.

mod answer;
mod connections;
mod events;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RANGE, USER_AGENT};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Uri};
use python_interpreter::wire::{
    CLIENT_HEADER, EVENTS, EXECUTION_ID_HEADER, EXECUTIONS_PATH, ExecuteRequest, LEARN_HEADER, OUTCOME_HEADER, Outcome,
};
use reqwest::{Client, ClientBuilder, Response, Url};

use super::capabilities::Capabilities;
use super::context::CallContext;
use super::failure::{Failure, Limit, MAX_SHOWN_ANSWER_BYTES, MAX_SHOWN_BODY_BYTES};
use super::files::{FILE_DEADLINE, FileError, Part, late};
use super::url::{EXECUTE_PATH, ServiceUrl};
pub use answer::Answer;
use answer::MAX_ANSWER_BYTES;
use connections::{Answering, CONNECT_DEADLINE, Connections, IDLE, Place, SendError};

const MAX_CAPABILITIES_BYTES: usize = 1024 * 1024;
/// How long our own interpreter may take to answer after it was told to end a program.
const STOPPED_DEADLINE: Duration = Duration::from_secs(5);
/// The pause between two tries to tell it.
const END_PAUSE: Duration = Duration::from_millis(50);
const OWN_NAME: &str = concat!("python-interpreter-mcp/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";
const ACCEPTS_EVENTS: &str = "application/x-ndjson, application/json;q=0.9";

pub struct ApiClient {
    /// Carry the calls.
    connections: Connections,
    /// The path and the headers of every call.
    path: Uri,
    headers: HeaderMap,
    /// Carries what is rare.
    client: Client,
    /// A URL without a slash at its end.
    base: String,
    /// What error messages call the interpreter.
    name: String,
    /// It is our own interpreter. Only ours gets the names of execution and client.
    is_ours: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("the HTTP client could not be set up: {0}")]
    Client(#[from] reqwest::Error),
    #[error("{0} is no address of an interpreter: {1}")]
    Url(String, String),
}

fn host_and_port(url: &ServiceUrl) -> Result<(String, u16), AddressError> {
    let parsed = Url::parse(url.as_str()).map_err(|error| AddressError::Url(url.to_string(), error.to_string()))?;
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    Ok((host, parsed.port_or_known_default().unwrap_or(80)))
}

impl ApiClient {
    /// A service at any address.
    pub fn service(url: &ServiceUrl) -> Result<Self, AddressError> {
        let (host, port) = host_and_port(url)?;
        Self::tcp(url, Place::Tcp { host, port })
    }

    /// A service on this machine that must belong to this user or to root: the owner of each connection is checked.
    pub fn service_of_this_user(url: &ServiceUrl) -> Result<Self, AddressError> {
        let (_, port) = host_and_port(url)?;
        Self::tcp(url, Place::OwnPort(port))
    }

    pub fn embedded(path: &Path) -> Result<Self, AddressError> {
        let client = client().unix_socket(path).build()?;
        let name = format!("unix:{}", path.display());
        Self::new(Place::Unix(path.to_owned()), client, "http://localhost", name)
    }

    fn tcp(url: &ServiceUrl, place: Place) -> Result<Self, AddressError> {
        // localhost is this machine, whatever a name server says.
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let loopback = loopback.map(|address| SocketAddr::new(address, 0));
        let client = client().resolve_to_addrs("localhost", &loopback).build()?;
        Self::new(place, client, url.as_str(), url.to_string())
    }

    fn new(place: Place, client: Client, base: &str, name: String) -> Result<Self, AddressError> {
        let wrong = |error: String| AddressError::Url(base.to_owned(), error);
        let execute: Uri = format!("{base}{EXECUTE_PATH}").parse().map_err(|error| wrong(format!("{error}")))?;
        let host = execute.authority().map(Authority::as_str).unwrap_or_default();
        let host = HeaderValue::from_str(host).map_err(|error| wrong(error.to_string()))?;
        let path = execute.path().parse().map_err(|error| wrong(format!("{error}")))?;
        let [own_name, json] = [OWN_NAME, JSON].map(HeaderValue::from_static);
        let headers = [(HOST, host), (USER_AGENT, own_name), (CONTENT_TYPE, json.clone()), (ACCEPT, json)];
        let headers = headers.into_iter().collect();
        let is_ours = matches!(place, Place::Unix(_));
        Ok(Self { connections: Connections::new(place), path, headers, client, base: base.to_owned(), name, is_ours })
    }

    /// Sends the request and waits for the answer until `deadline` is over. The error then names `limit`.
    pub async fn execute(
        &self,
        request: &ExecuteRequest,
        deadline: Duration,
        limit: Limit,
        context: &CallContext,
    ) -> Result<Answer, Failure> {
        match tokio::time::timeout(deadline, self.exchange_until_stopped(request, context)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Timeout { url: self.name.clone(), limit }),
        }
    }

    /// When the daemon stops, our own interpreter is made to end the program, and answers with what that printed. Another cannot be told.
    async fn exchange_until_stopped(&self, request: &ExecuteRequest, context: &CallContext) -> Result<Answer, Failure> {
        if context.stopping.is_cancelled() {
            return Err(Failure::StoppedBefore);
        }
        let mut exchange = pin!(self.exchange(request, context));
        if let Some(result) = context.stopping.run_until_cancelled(&mut exchange).await {
            return result;
        }
        if let Some(id) = context.execution_id.as_deref().filter(|_| self.is_ours) {
            let end = async {
                let url = format!("{}{EXECUTIONS_PATH}{id}", self.base);
                // Until it is known there: the request may still be on its way.
                while !self.client.delete(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    tokio::time::sleep(END_PAUSE).await;
                }
                std::future::pending().await
            };
            tokio::select! {
                result = &mut exchange => return result,
                () = end => {}
                () = tokio::time::sleep(STOPPED_DEADLINE) => {}
            }
        }
        Err(Failure::Stopped { url: self.name.clone() })
    }

    async fn exchange(&self, request: &ExecuteRequest, context: &CallContext) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(request).map_err(|error| self.not_the_api(error.to_string(), Vec::new()))?;
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        // Only if somebody reads them: events cost both sides more than one answer.
        if context.wants_events() {
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(ACCEPTS_EVENTS));
        }
        context.trace.continue_in(request.headers_mut());
        for (header, name) in [(EXECUTION_ID_HEADER, &context.execution_id), (CLIENT_HEADER, &context.client)] {
            let name = name.as_deref().filter(|_| self.is_ours);
            if let Some(name) = name.and_then(|name| HeaderValue::from_str(name).ok()) {
                request.headers_mut().insert(header, name);
            }
        }
        // Another service may be our own interpreter as well.
        if !context.learns {
            request.headers_mut().insert(LEARN_HEADER, HeaderValue::from_static("no"));
        }
        let response = self.connections.send(request).await.map_err(|error| match error {
            SendError::NotReached(source) => Failure::NotReached { url: self.name.clone(), source },
            SendError::Dropped(source) => self.dropped(source),
        })?;
        let head = response.head();
        let status = head.status();
        if !status.is_success() {
            let (body, _) = self.read_answer(response, MAX_SHOWN_BODY_BYTES).await?;
            return Err(Failure::Status { status: status.as_u16(), body });
        }
        // A service that does not support events ignores the header.
        if head.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(EVENTS.as_bytes())) {
            // Boxed because it is large and rare: every call's future would be that large.
            return Box::pin(events::read(response, &self.name, context)).await;
        }
        let outcome = head.headers().get(OUTCOME_HEADER).and_then(|outcome| Outcome::from_text(outcome.as_bytes()));
        let (mut answer, complete) = self.read_answer(response, MAX_ANSWER_BYTES).await?;
        if !complete {
            answer.truncate(MAX_SHOWN_ANSWER_BYTES);
            return Err(Failure::TooLarge { url: self.name.clone(), limit: MAX_ANSWER_BYTES, first: answer });
        }
        let response = answer::parse(answer).await.map_err(|(reason, first)| self.not_the_api(reason, first))?;
        Ok(Answer { response, outcome })
    }

    /// The embedded interpreter's process id. It answers at once, even while Python starts.
    pub async fn process(&self, deadline: Duration) -> Result<i32, Failure> {
        let (_, body) = self.get("/process", MAX_SHOWN_BODY_BYTES, deadline).await?;
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let process = said["process"].as_i64().and_then(|process| process.try_into().ok());
        process.ok_or_else(|| self.not_the_api("it does not say its process id".to_owned(), body))
    }

    /// What the interpreter says about itself.
    pub async fn capabilities(&self, deadline: Duration) -> Result<Capabilities, Failure> {
        let (status, body) = self.get("/healthz", MAX_CAPABILITIES_BYTES, deadline).await?;
        if !status.is_success() {
            return Err(Failure::Status { status: status.as_u16(), body });
        }
        serde_json::from_slice(&body).map_err(|error| self.not_the_api(error.to_string(), Vec::new()))
    }

    /// The status and the body of `path`. At most `limit` bytes and one chunk are read.
    async fn get(&self, path: &str, limit: usize, deadline: Duration) -> Result<(StatusCode, Vec<u8>), Failure> {
        let asked = async {
            let request = self.client.get(format!("{}{path}", self.base)).send().await;
            let response = request.map_err(|source| match source.is_connect() {
                true => Failure::NotReached { url: self.name.clone(), source: source.into() },
                false => self.dropped(source.into()),
            })?;
            let status = response.status();
            Ok((status, self.read(response, limit).await?.0))
        };
        let limit = Limit { time: deadline, is_of_call: false };
        let late = || Err(Failure::Timeout { url: self.name.clone(), limit });
        tokio::time::timeout(deadline, asked).await.unwrap_or_else(|_| late())
    }

    /// Reads a part of a stored file.
    pub async fn file(&self, id: &str, offset: u64, length: u64) -> Result<Part, FileError> {
        let unreadable = |error: String| FileError::Unreadable(error);
        let asked = async {
            // A range has at least one byte.
            let range = format!("bytes={offset}-{}", offset.saturating_add(length.max(1) - 1));
            let request = self.client.get(format!("{}/v1/files/{id}", self.base)).header(RANGE, range);
            let response = request.send().await.map_err(|error| match error.is_connect() {
                true => FileError::NotReached,
                false => unreadable(error.to_string()),
            })?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {}
                StatusCode::NOT_FOUND => return Err(FileError::Missing(id.to_owned())),
                status => return Err(unreadable(format!("the interpreter answered with status {status}"))),
            }
            let total = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()?.rsplit_once('/'));
            let total =
                total.and_then(|(_, total)| total.parse().ok()).ok_or_else(|| unreadable("no length".into()))?;
            if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
                return Ok(Part { bytes: Vec::new(), total });
            }
            let most = usize::try_from(length).unwrap_or(usize::MAX);
            let (mut bytes, _) = self.read(response, most).await.map_err(|failure| unreadable(failure.detail()))?;
            bytes.truncate(most);
            Ok(Part { bytes, total })
        };
        tokio::time::timeout(FILE_DEADLINE, asked).await.unwrap_or_else(|_| Err(late()))
    }

    /// Reads an answer's body, at most `limit` bytes and one more. False if it is longer than `limit`.
    async fn read_answer(&self, mut response: Answering, limit: usize) -> Result<(Vec<u8>, bool), Failure> {
        // Allocated once if the length is known.
        let mut body = Vec::with_capacity(response.least_length().min(limit + 1));
        while let Some(chunk) = response.chunk().await.map_err(|source| self.dropped(source))? {
            let room = limit + 1 - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() > limit {
                return Ok((body, false));
            }
        }
        Ok((body, true))
    }

    /// Reads a body, at most `limit` bytes and one chunk. False if it is longer than `limit`.
    async fn read(&self, mut response: Response, limit: usize) -> Result<(Vec<u8>, bool), Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.dropped(source.into()))? {
            body.extend_from_slice(&chunk);
            if body.len() > limit {
                return Ok((body, false));
            }
        }
        Ok((body, true))
    }

    fn dropped(&self, source: Box<dyn Error + Send + Sync>) -> Failure {
        Failure::Dropped { url: self.name.clone(), source }
    }

    fn not_the_api(&self, reason: String, first: Vec<u8>) -> Failure {
        Failure::NotTheApi { url: self.name.clone(), reason, first }
    }
}

fn client() -> ClientBuilder {
    Client::builder()
        .user_agent(OWN_NAME)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // The pool still replaces a connection that is closed before anything was written.
        .retry(reqwest::retry::never())
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_DEADLINE)
        .pool_idle_timeout(IDLE)
}
