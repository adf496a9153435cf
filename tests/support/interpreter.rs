//! The real embedded interpreter, as its own process of an ordinary user, spoken to over TCP.
//!
//! Started by root, as on a build machine, it runs as a user who owns nothing else; started by anyone else, as that user.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};

use super::processes::{children, descendants};
use super::{PATIENCE, until};

const TEST_PYTHON: &str = "PYTHON_INTERPRETER_MCP_TEST_PYTHON";
/// The first of user ids without an account.
const ORDINARY_USERS: u32 = 54_321;

/// What programs call the files that they make where the host has a directory of the same name.
pub const LEFT_BEHIND: &str = "left-behind-by-a-program";

pub struct Interpreter {
    process: Child,
    address: String,
    user: u32,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    /// Those of the host when it was started.
    mounts: Vec<String>,
    log: Log,
    /// Its home, state and runtime directories.
    pub home: tempfile::TempDir,
}

/// What an interpreter has logged so far.
type Log = Arc<Mutex<String>>;

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
    /// As an ordinary user.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these variables.
    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        Self::start_as(ordinary_user(), environment)
    }

    pub fn start_as(user: u32, environment: &[(&str, &str)]) -> Self {
        Self::launch(user, environment, &[], None)
    }

    pub fn start_with_arguments(arguments: &[&str]) -> Self {
        Self::launch(ordinary_user(), &[], arguments, None)
    }

    pub fn start_with_both(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::launch(ordinary_user(), environment, arguments, None)
    }

    /// By a shell that first runs `limit`, such as `ulimit -n 64`.
    pub fn start_limited(limit: &str) -> Self {
        Self::launch(ordinary_user(), &[], &[], Some(limit))
    }

    fn launch(user: u32, environment: &[(&str, &str)], arguments: &[&str], limit: Option<&str>) -> Self {
        let home = tempfile::tempdir().unwrap();
        // Whatever whoever runs the tests has: that user is to read what is made here, and plain programs start with it.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        // What cargo built may lie where that user cannot look. Copied by another process, because a file that is open for
        // writing here, even in a child that another test has just forked, cannot be executed.
        let program = home.path().join("python-interpreter-mcpd");
        let built = env!("CARGO_BIN_EXE_python-interpreter-mcpd");
        assert!(Command::new("cp").args([Path::new(built), &program]).status().unwrap().success());
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        chown(home.path(), Some(user), Some(user)).unwrap();
        // Another Python for all of a run, where a test does not choose its own: a virtual environment with large libraries ahead.
        let chosen = std::env::var(TEST_PYTHON).ok().map(|python| {
            let ahead = ("PYTHON_INTERPRETER_MCP_PRELOAD", "numpy,pandas,matplotlib.pyplot".to_owned());
            [("PYTHON_INTERPRETER_MCP_PYTHON", python), ahead]
        });
        let environment: Vec<_> = chosen
            .into_iter()
            .flatten()
            .chain(environment.iter().map(|(name, value)| (*name, value.to_string())))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let log = Log::default();
        let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string()).collect();
        let (process, address) = serve(&program, user, home.path(), &environment, &arguments, limit, &log);
        Interpreter { arguments, process, address, user, environment, mounts: mounts(), log, home }
    }

    /// Another one with the same home, state and settings in place of this one, which is killed if it still lives.
    pub fn restart(&mut self) {
        self.kill();
        let program = self.home.path().join("python-interpreter-mcpd");
        (self.process, self.address) =
            serve(&program, self.user, self.home.path(), &self.environment, &self.arguments, None, &self.log);
    }

    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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
        receive(self.send(method, path, headers, body)).unwrap()
    }

    /// Sends a request and leaves the answer to be read.
    pub fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> TcpStream {
        send(&self.address, method, path, headers, body).unwrap()
    }

    /// Runs `code` outside the sandbox as the same user: what it prints. The harmless twin of an attack.
    pub fn twin(&self, code: &str) -> String {
        let script = self.home.path().join("twin.py");
        fs::write(&script, code).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
        let output = self.command(Path::new("python3")).arg(&script).output().unwrap();
        fs::remove_file(&script).unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// A command outside the sandbox as the same user.
    pub fn command(&self, program: &Path) -> Command {
        as_user(program, self.user, self.home.path())
    }

    /// After whatever happened, the next execution is right and nothing is left in any slot.
    pub fn works(&self) {
        let result = self.execute("print(6 * 7)");
        assert_eq!((result["stdout"].as_str(), result["exit_code"].as_i64()), (Some("42\n"), Some(0)), "{result}");
        self.wait_until_empty();
    }

    /// Executes a whole request and expects that it was executed, whatever came of it.
    pub fn run(&self, request: &Value) -> Value {
        let answer = self.post(request);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// Runs `code` for at most `seconds`.
    pub fn run_for(&self, seconds: f64, code: &str) -> Value {
        self.run(&json!({ "source_code": code, "timeout_seconds": seconds }))
    }

    /// Runs a program that prints REACHED for each of its acts that succeeded: none must, and it comes to its end.
    pub fn none_succeeds(&self, program: &str) -> Value {
        let result = self.execute(&format!("{program}\nprint('tried')"));
        let output = result["stdout"].as_str().unwrap();
        assert!(output.ends_with("tried\n") && !output.contains("REACHED"), "{result}");
        result
    }

    /// After an attack: the next call is right, and neither processes nor mounts nor files are left on the host.
    pub fn is_unscathed(&self) {
        self.works();
        let new: Vec<String> = mounts().into_iter().filter(|mount| !self.mounts.contains(mount)).collect();
        assert!(new.is_empty(), "mounts of a slot are left on the host: {new:?}");
        for place in ["/tmp", "/dev/shm", "/var/tmp"] {
            let left = Path::new(place).join(LEFT_BEHIND);
            assert!(!left.exists(), "{} is left on the host", left.display());
        }
        let stored: u64 =
            self.stored_files().iter().map(|path| fs::metadata(path).map_or(0, |found| found.len())).sum();
        assert!(stored < 4 << 30, "{stored} bytes are stored");
    }

    /// What is in the store of files, which is not made before something is executed.
    pub fn stored_files(&self) -> Vec<PathBuf> {
        let store = self.home.path().join("state/python-interpreter-mcp/files");
        fs::read_dir(store)
            .map_or_else(|_| Vec::new(), |entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
    }

    /// The program that has made the file `name` in its working directory, as a process of the host.
    pub fn program_with(&self, name: &str) -> u32 {
        let made = |id: &u32| Path::new(&format!("/proc/{id}/cwd/{name}")).exists();
        let mut found = None;
        until("a program has made its file", || {
            // Its first process has the same working directory and was there earlier.
            found = descendants(self.id()).into_iter().rfind(made);
            found.is_some()
        });
        found.unwrap()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
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
        // There are two while the next Python is being started.
        until("there is one spawner", || children(self.id()).len() == 1);
        children(self.id())[0]
    }

    /// How many slots are "waiting", "building" or "in_use".
    pub fn slots(&self, which: &str) -> u64 {
        self.request("GET", "/healthz", &[], b"").json()["slots"][which].as_u64().unwrap()
    }

    pub fn wait_until_busy(&self) {
        until("a program runs", || self.slots("in_use") > 0);
    }

    /// Waits until nothing is left of any program: there are the spawner's two processes, the zygote, and two for each slot that
    /// waits for a program.
    pub fn wait_until_empty(&self) {
        let count = |which| self.slots(which) as usize;
        until("nothing is left in any slot", || {
            let waiting = count("waiting");
            let processes = descendants(self.id()).len();
            count("in_use") == 0
                && count("building") == 0
                && waiting == count("waiting")
                && processes == 3 + 2 * waiting
        });
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
        self.kill();
    }
}

/// Removes the file `name` in the working directory of a program, which waits for that.
pub fn release(program: u32, name: &str) {
    fs::remove_file(format!("/proc/{program}/cwd/{name}")).unwrap();
}

/// Who an interpreter may run as. Where root runs the tests, each has a user of its own: much of what the kernel counts, such as
/// descriptors that are being passed on, it counts for all processes of a user.
pub fn ordinary_user() -> u32 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    if am_root() { ORDINARY_USERS + TAKEN.fetch_add(1, Ordering::Relaxed) } else { rustix::process::getuid().as_raw() }
}

pub fn am_root() -> bool {
    rustix::process::getuid().is_root()
}

/// What `POST /v1/execute` at `address` answers, or why there is no answer: the interpreter may be killed meanwhile.
pub fn try_post(address: &str, request: &Value) -> io::Result<Answer> {
    let headers = ["Content-Type: application/json"];
    receive(send(address, "POST", "/v1/execute", &headers, request.to_string().as_bytes())?)
}

fn send(address: &str, method: &str, path: &str, headers: &[&str], body: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let host = if headers.iter().any(|header| header.starts_with("Host:")) { "" } else { "Host: localhost\r\n" };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}Content-Length: {length}\r\n\r\n")?;
    // A server that has refused the request may close before it has read all of it.
    let _ = stream.write_all(body);
    Ok(stream)
}

fn receive(mut stream: TcpStream) -> io::Result<Answer> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let no_answer = || io::Error::new(io::ErrorKind::UnexpectedEof, "a part of an answer");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(no_answer)?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(no_answer)?;
    let body = answer.split_off(end + 4);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    // Chunked bodies are only used for stored files, whose length is in the head instead.
    assert!(!head.contains("transfer-encoding: chunked"));
    if length.is_some_and(|length: usize| length != body.len()) {
        return Err(no_answer());
    }
    Ok(Answer { status, body })
}

/// The host's mounts where slots have theirs.
fn mounts() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let of_slots = |mount: &&str| {
        let place = mount.split(' ').nth(1).unwrap_or_default();
        ["/tmp", "/workspace", "/proc", "/dev/shm", "/opt"].iter().any(|path| place.starts_with(path))
    };
    mounts.lines().filter(of_slots).map(str::to_owned).collect()
}

fn serve(
    program: &Path,
    user: u32,
    home: &Path,
    environment: &[(String, String)],
    arguments: &[String],
    limit: Option<&str>,
    log: &Log,
) -> (Child, String) {
    let mut command = match limit {
        None => as_user(program, user, home),
        Some(limit) => {
            let mut shell = as_user(Path::new("/bin/sh"), user, home);
            shell.arg("-c").arg(format!("{limit} && exec \"$0\" \"$@\"")).arg(program);
            shell
        }
    };
    command.args(["interpreter", "--listen", "127.0.0.1:0"]).args(arguments).stderr(Stdio::piped());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let mut process = command.spawn().unwrap();
    let address = wait_for_address(process.stderr.take().unwrap(), log.clone());
    (process, address)
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
fn wait_for_address(stderr: impl Read + Send + 'static, log: Log) -> String {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("address=") {
                let _ = sender.send(address.split_whitespace().next().unwrap_or_default().to_owned());
            }
            // Shown with a failed test's other output.
            eprintln!("{line}");
            log.lock().unwrap().push_str(&format!("{line}\n"));
        }
    });
    receiver.recv_timeout(PATIENCE).expect("the interpreter listens")
}
