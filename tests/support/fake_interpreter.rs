//! An interpreter service inside the test: it records every byte that it is sent and answers as it is told.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::PATIENCE;

/// How often a connection that waits looks at what it was told meanwhile.
const LOOK: Duration = Duration::from_millis(2);

#[derive(Debug, Clone)]
pub enum Answer {
    /// This JSON, with status 200.
    Json(Value),
    /// These bytes, instead of a whole response.
    Raw(Vec<u8>),
    /// Read the request and close the connection.
    Drop,
    /// Answer only after `release`.
    Hold,
}

impl Answer {
    pub fn stdout(text: &str) -> Self {
        Self::Json(json!({"stdout": text, "stderr": "", "exit_code": 0, "files": {}}))
    }

    pub fn status(line: &str, body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Self::Raw(bytes)
    }
}

#[derive(Debug, Clone)]
pub struct Request {
    /// The request line and the headers, as they came.
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    pub fn source_code(&self) -> String {
        serde_json::from_slice::<Value>(&self.body).unwrap()["source_code"].as_str().unwrap().to_owned()
    }
}

#[derive(Default)]
struct State {
    accepted: usize,
    ended: usize,
    requests: Vec<Request>,
    answers: VecDeque<Answer>,
    open: Vec<TcpStream>,
    echoes: bool,
    released: bool,
    stopped: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed holding it still has to end in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct FakeInterpreter {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl FakeInterpreter {
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// Listens at a certain address, where another one may have been a moment ago.
    pub fn start_at(address: SocketAddr) -> Self {
        // The standard library sets SO_REUSEADDR, so connections in TIME_WAIT are no obstacle. A process that another test has just
        // forked is, until it becomes another program: it has the listener of the test before.
        let deadline = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(address) {
                Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(10));
                }
                listener => break listener.unwrap(),
            }
        };
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// From now on a request that is told no other answer gets its own source code as output.
    pub fn echo(&self) {
        self.shared.state().echoes = true;
    }

    /// What the next request gets; without any, a request gets an empty result.
    pub fn answer_next(&self, answer: Answer) {
        self.shared.state().answers.push_back(answer);
    }

    pub fn release(&self) {
        self.shared.state().released = true;
        self.shared.changed.notify_all();
    }

    /// What is held from now on waits for another release.
    pub fn hold_again(&self) {
        self.shared.state().released = false;
    }

    pub fn accepted(&self) -> usize {
        self.shared.state().accepted
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    pub fn wait_for_requests(&self, number: usize) -> Vec<Request> {
        self.wait_until("a request", |state| state.requests.len() >= number);
        self.requests()
    }

    /// Waits until so many connections were closed by the other side.
    pub fn wait_for_ended(&self, number: usize) {
        self.wait_until("a closed connection", |state| state.ended >= number);
    }

    pub fn ended(&self) -> usize {
        self.shared.state().ended
    }

    /// Closes the connections that are open, as a server does that finds them idle for too long.
    pub fn close_connections(&self) {
        for connection in self.shared.state().open.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.state();
        while !holds(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the interpreter never saw {what}");
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for FakeInterpreter {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.close_connections();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        let Ok(connection) = connection else { continue };
        let mut state = shared.state();
        if state.stopped {
            return;
        }
        state.accepted += 1;
        state.open.push(connection.try_clone().unwrap());
        drop(state);
        let shared = shared.clone();
        thread::spawn(move || {
            let end = connection.try_clone().unwrap();
            // An error is the other side's way to go away.
            let _ = serve(connection, &shared);
            // Another handle is in the list of those that are open.
            let _ = end.shutdown(Shutdown::Both);
            shared.state().ended += 1;
            shared.changed.notify_all();
        });
    }
}

fn serve(mut connection: TcpStream, shared: &Shared) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    while let Some(request) = read_request(&mut connection)? {
        let mut state = shared.state();
        let usual = if state.echoes { request.source_code() } else { String::new() };
        state.requests.push(request);
        let answer = state.answers.pop_front().unwrap_or_else(|| Answer::stdout(&usual));
        drop(state);
        shared.changed.notify_all();
        let bytes = match answer {
            Answer::Json(json) => json_response(&json),
            Answer::Raw(bytes) => bytes,
            Answer::Drop => return Ok(()),
            Answer::Hold => {
                hold(&mut connection, shared)?;
                match Answer::stdout("released") {
                    Answer::Json(json) => json_response(&json),
                    _ => unreachable!(),
                }
            }
        };
        connection.write_all(&bytes)?;
    }
    Ok(())
}

fn json_response(json: &Value) -> Vec<u8> {
    let body = json.to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    (head + &body).into_bytes()
}

/// Waits for the release, and notices meanwhile if the other side goes away.
fn hold(connection: &mut TcpStream, shared: &Shared) -> std::io::Result<()> {
    connection.set_read_timeout(Some(LOOK))?;
    loop {
        match connection.read(&mut [0; 1]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => panic!("a second request came before the answer to the first"),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if shared.state().released {
            return connection.set_read_timeout(None);
        }
    }
}

fn read_request(connection: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 64 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = bytes.split_off(end + 4);
            let missing = length.parse::<usize>().unwrap() - body.len();
            let filled = body.len();
            body.resize(filled + missing, 0);
            connection.read_exact(&mut body[filled..])?;
            return Ok(Some(Request { head, body }));
        }
        match connection.read(&mut chunk)? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}
