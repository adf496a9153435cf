//! Runs the real daemon in a private home and runtime directory, speaks to it in raw lines, and ends whatever it started.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake_interpreter::FakeInterpreter;
use super::launcher;
use super::processes::{self, signal};
use super::{PATIENCE, until};

/// A user's world that no other test shares. Whatever runs in it is killed with it.
pub struct Home(TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("daemon-").tempdir_in("/tmp").unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("python-interpreter-mcp/mcp.sock")
    }

    pub fn log(&self) -> String {
        let path = self.path().join(".local/state/python-interpreter-mcp/daemon.log");
        fs::read_to_string(path).unwrap_or_default()
    }

    /// The program, with nothing in its environment that a test did not put there.
    pub fn command(&self) -> Command {
        let mut command = Command::new(launcher::daemon());
        command.env_clear().env("HOME", self.path()).env("XDG_RUNTIME_DIR", self.path()).env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null());
        command
    }

    /// The processes that run in this world.
    pub fn processes(&self) -> Vec<u32> {
        processes::in_session(self.path()).into_iter().map(|process| process.id).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for pid in self.processes() {
            signal(pid, Signal::KILL);
        }
    }
}

pub struct Daemon {
    child: Child,
    home: Home,
}

impl Daemon {
    /// A daemon whose interpreter is the given service, ready to be connected to.
    pub fn start(interpreter: &FakeInterpreter) -> Self {
        Self::start_with(&[("PYTHON_INTERPRETER_MCP_URL", &interpreter.url())], &[])
    }

    pub fn start_with(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_in(Home::new(), environment, arguments)
    }

    pub fn start_in(home: Home, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let notify = UnixDatagram::bind(home.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = home.command();
        command.arg("serve").args(arguments).envs(environment.iter().copied());
        command.env("NOTIFY_SOCKET", home.path().join("notify"));
        let stderr = fs::File::create(home.path().join("stderr")).unwrap();
        let child = command.stderr(stderr).spawn().unwrap();
        let mut message = [0; 64];
        // A receive with a deadline is not begun again after a signal, such as another test's terminal gets.
        let length = loop {
            match notify.recv(&mut message) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.expect("the daemon never became ready"),
            }
        };
        assert_eq!(&message[..length], b"READY=1\n");
        Self { child, home }
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    pub fn connect(&self) -> Session {
        Session::open(self.home.socket())
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.home.path().join("stderr")).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn terminate(&self) {
        signal(self.pid(), Signal::TERM);
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the daemon's end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn resident_kilobytes(&self) -> u64 {
        self.status_number("VmRSS:")
    }

    pub fn peak_kilobytes(&self) -> u64 {
        self.status_number("VmHWM:")
    }

    /// Makes the peak of the memory start anew.
    pub fn reset_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    fn status_number(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon said:\n{}", self.stderr());
        }
    }
}

/// A client's connection. Requests are those of the newest revision unless it was initialized.
pub struct Session {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    modern: bool,
    last_id: i64,
}

impl Session {
    pub fn open(socket: impl AsRef<Path>) -> Self {
        Self::try_open(socket).unwrap()
    }

    pub fn try_open(socket: impl AsRef<Path>) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Ok(Self { reader: BufReader::new(stream.try_clone()?), stream, modern: true, last_id: 0 })
    }

    /// Goes through the handshake of the older revisions; returns what the server said.
    pub fn initialize(&mut self, version: &str) -> Value {
        self.modern = false;
        let client = json!({"name": "test", "version": "1"});
        let parameters = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client});
        let answer = self.request("initialize", parameters);
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        answer["result"].clone()
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, message: &Value) {
        self.send_bytes(format!("{message}\n").as_bytes());
    }

    pub fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("no line came");
        line
    }

    pub fn read(&mut self) -> Value {
        let line = self.read_line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}"))
    }

    /// The next message that is no notification: that lists have changed may be told at any time.
    pub fn read_answer(&mut self) -> Value {
        loop {
            let message = self.read();
            if message.get("method").is_none() {
                return message;
            }
        }
    }

    /// Waits for the end of the connection and returns what came before it.
    pub fn read_to_end(&mut self) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            match self.read_line() {
                line if line.is_empty() => return messages,
                line => messages.push(serde_json::from_str(&line).unwrap()),
            }
        }
    }

    pub fn message(&self, id: Value, method: &str, mut parameters: Value) -> Value {
        if self.modern {
            parameters["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters})
    }

    pub fn call_message(&self, id: Value, source_code: &str) -> Value {
        let arguments = json!({"source_code": source_code});
        self.message(id, "tools/call", json!({"name": "execute_python_code", "arguments": arguments}))
    }

    pub fn send_call(&mut self, id: impl Into<Value>, source_code: &str) {
        self.send(&self.call_message(id.into(), source_code));
    }

    pub fn cancel(&mut self, id: impl Into<Value>) {
        let parameters = json!({"requestId": id.into()});
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": parameters}));
    }

    pub fn request(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        self.send(&self.message(json!(self.last_id), method, parameters));
        let answer = self.read_answer();
        assert_eq!(answer["id"], self.last_id, "{answer}");
        answer
    }

    /// Calls the tool and returns its result.
    pub fn call(&mut self, source_code: &str) -> Value {
        let arguments = json!({"source_code": source_code});
        let answer = self.request("tools/call", json!({"name": "execute_python_code", "arguments": arguments}));
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    pub fn set_write_patience(&self, patience: Duration) {
        self.stream.set_write_timeout(Some(patience)).unwrap();
    }

    /// Writes what fits now; none if nothing does for as long as the patience lasts, or the connection is over.
    pub fn write_some(&mut self, bytes: &[u8]) -> Option<usize> {
        self.stream.write(bytes).ok()
    }

    /// Says that nothing more will come, and goes on reading.
    pub fn finish_writing(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}
