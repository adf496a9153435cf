//! The real embedded interpreter, as its own process of an ordinary user, spoken to over TCP.
//!
//! Started by root, as on a build machine, it runs as a user that owns nothing else; started by anyone else, as that user.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "in a test a panic is the report, and stderr its detail")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A user id without an account.
const ORDINARY_USER: u32 = 54321;
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Interpreter {
    process: Child,
    address: String,
    user: u32,
    /// Its home, state and runtime directories.
    pub home: tempfile::TempDir,
}

/// The answer to one HTTP request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }
}

impl Interpreter {
    pub fn start() -> Self {
        Self::start_as(if am_root() { ORDINARY_USER } else { rustix::process::getuid().as_raw() }, &[])
    }

    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        Self::start_as(if am_root() { ORDINARY_USER } else { rustix::process::getuid().as_raw() }, environment)
    }

    pub fn start_as(user: u32, environment: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        // What cargo built may lie where that user cannot look. Copied by another process, because a file that is open for
        // writing here, even in a child that another test has just forked, cannot be executed.
        let program = home.path().join("python-interpreter-mcpd");
        let built = env!("CARGO_BIN_EXE_python-interpreter-mcpd");
        assert!(Command::new("cp").args([Path::new(built), &program]).status().unwrap().success());
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        chown(home.path(), Some(user), Some(user)).unwrap();
        let mut command = as_user(&program, user, home.path());
        command.args(["interpreter", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
        command.envs(environment.iter().copied());
        let mut process = command.spawn().unwrap();
        let address = wait_for_address(process.stderr.take().unwrap());
        Interpreter { process, address, user, home }
    }

    /// Executes `code` and expects that it was executed, whatever came of it.
    pub fn execute(&self, code: &str) -> Value {
        let answer = self.post(&json!({ "source_code": code }));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    pub fn post(&self, request: &Value) -> Answer {
        self.request("POST", "/v1/execute", &["Content-Type: application/json"], request.to_string().as_bytes())
    }

    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.send(method, path, headers, body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = answer.split_off(end + 4);
        // Chunked bodies are only used for stored files, whose length is in the head instead.
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding: chunked"));
        Answer { status, body }
    }

    /// Sends a request and leaves the answer to be read.
    pub fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let host = if headers.iter().any(|header| header.starts_with("Host:")) { "" } else { "Host: localhost\r\n" };
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        )
        .unwrap();
        // A server that has refused the request may close before it has read all of it.
        let _ = stream.write_all(body);
        stream
    }

    /// Runs `code` outside the sandbox as the same user: what it prints. The harmless twin of an attack.
    pub fn twin(&self, code: &str) -> String {
        let script = self.home.path().join("twin.py");
        fs::write(&script, code).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
        let output = as_user(Path::new("python3"), self.user, self.home.path()).arg(&script).output().unwrap();
        fs::remove_file(&script).unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// After whatever happened, the next execution is right and nothing is left in any slot.
    pub fn works(&self) {
        let result = self.execute("print(6 * 7)");
        assert_eq!((result["stdout"].as_str(), result["exit_code"].as_i64()), (Some("42\n"), Some(0)), "{result}");
        self.wait_until_empty();
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn user(&self) -> u32 {
        self.user
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn spawner(&self) -> u32 {
        let [spawner] = children(self.id())[..] else { panic!("one spawner: {:?}", children(self.id())) };
        spawner
    }

    /// Waits until no slot is left: the spawner has no children.
    pub fn wait_until_empty(&self) {
        wait_until("no process is left in any slot", || children(self.spawner()).is_empty());
    }

    /// A path in its home, made by its user.
    pub fn private_file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(self.user), Some(self.user)).unwrap();
        path
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn am_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Waits for something that is sure to happen soon.
pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !happened() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The living children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let alive = |id: &u32| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { return false };
        // "id (name) state parent …", where the name may hold anything.
        let mut rest = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let (state, of) = (rest.next(), rest.next());
        state != Some("Z") && of == Some(parent.to_string().as_str())
    };
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(alive).collect()
}

fn as_user(program: &Path, user: u32, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("XDG_STATE_HOME", home.join("state"))
        .current_dir("/")
        .stdin(Stdio::null());
    if am_root() {
        command.uid(user).gid(user);
    }
    command
}

/// The address that it says it listens on; its log goes on to this process's stderr.
fn wait_for_address(log: impl Read + Send + 'static) -> String {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("address=") {
                let _ = sender.send(address.split_whitespace().next().unwrap_or_default().to_owned());
            }
            // Shown with a failed test's other output.
            eprintln!("{line}");
        }
    });
    receiver.recv_timeout(DEADLINE).expect("the interpreter listens")
}
