//! Runs the real shim in a private home and runtime directory, and ends whatever it started.
//! Leaves out what a test expects of it.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    io::{self, Read, Write as _},
    os::unix::{
        fs::DirBuilderExt as _,
        net::{UnixListener, UnixStream},
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

pub const SHIM: &str = env!("CARGO_BIN_EXE_python-interpreter-mcp");

/// How long a test waits for an event that should come at once: generous, because the machine is shared.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What "at once" means where the shim itself has deadlines of 5 s: it must not have run into one of them.
pub const PROMPT: Duration = Duration::from_secs(4);

/// A user's world: a home and a runtime directory that no other test shares.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("shim-").tempdir_in("/tmp").unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where the shim looks for its sockets, created as the shim would.
    pub fn runtime(&self) -> PathBuf {
        let path = self.path().join("python-interpreter-mcp");
        if !path.exists() {
            fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        }
        path
    }

    pub fn socket(&self) -> PathBuf {
        self.runtime().join("mcp.sock")
    }

    pub fn log(&self) -> PathBuf {
        self.path().join(".local/state/python-interpreter-mcp/daemon.log")
    }

    /// A daemon inside the test: whatever the shim connects to.
    pub fn listen(&self) -> UnixListener {
        UnixListener::bind(self.socket()).unwrap()
    }

    /// The shim with the few variables that clients pass, and no daemon to start unless the test names one.
    pub fn shim(&self) -> Command {
        let mut command = Command::new(SHIM);
        command.env_clear().env("HOME", self.path()).env("XDG_RUNTIME_DIR", self.path());
        command.env("PYTHON_INTERPRETER_MCPD", "/nonexistent/python-interpreter-mcpd");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Another process writes it: one that is forked meanwhile for another test would have it open for writing, and what is open for that
/// cannot be started.
pub fn write_program(path: &Path, content: &[u8]) {
    let mut command = Command::new("/bin/sh");
    let mut writer =
        command.args(["-c", r#"cat >"$0" && chmod 755 "$0""#]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    writer.stdin.take().unwrap().write_all(content).unwrap();
    assert!(writer.wait().unwrap().success(), "{path:?} is written");
}

/// A child that does not outlive its test.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Waits for the end, and fails the test instead of hanging.
    pub fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the process has not ended");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The exit code, which must come before any deadline of the shim's own could have passed.
    pub fn ended_promptly(&mut self) -> Option<i32> {
        let started = Instant::now();
        let status = self.ended();
        assert!(started.elapsed() < PROMPT, "it took {:?} to end", started.elapsed());
        assert_eq!(status.signal(), None);
        status.code()
    }

    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Accepts one connection, or fails the test.
pub fn accept(listener: &UnixListener) -> UnixStream {
    let listener = listener.try_clone().unwrap();
    let stream = within("a connection", move || listener.accept().unwrap().0);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Runs something that may block, with a bound.
pub fn within<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(act()));
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Asks until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what} did not happen");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Bytes without a short period, so that a lost or repeated piece shows.
pub fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Reads to the end in small pieces and with pauses.
pub fn read_slowly(mut from: impl Read) -> io::Result<Vec<u8>> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&piece[..count]),
        }
        // A pause now and then, so that whoever writes runs into full buffers.
        if all.len() % (1 << 20) < 4 * piece.len() {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A daemon in Python that checks how it was started, echoes what it is sent, and notes it all in `starts`.
pub struct ScriptedDaemon {
    folder: PathBuf,
}

impl ScriptedDaemon {
    pub fn new(home: &Home) -> Self {
        let folder = home.path().join("daemon");
        fs::create_dir(&folder).unwrap();
        let script = SCRIPT.replace("FOLDER", folder.to_str().unwrap());
        let program = folder.join("python-interpreter-mcpd");
        write_program(&program, script.as_bytes());
        Self { folder }
    }

    pub fn program(&self) -> PathBuf {
        self.folder.join("python-interpreter-mcpd")
    }

    /// One line a start: what the started process saw.
    pub fn starts(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.folder.join("starts")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for ScriptedDaemon {
    fn drop(&mut self) {
        for start in self.starts() {
            let pid = start["pid"].as_i64().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

const SCRIPT: &str = r#"#!/usr/bin/python3 -IS
import json, os, signal, socket, stat, sys, threading
signal.alarm(120)
listener = socket.socket(fileno=3)
seen = {
    "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0), "folder": os.getcwd(), "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "listening": listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), "name": listener.getsockname(),
    "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)),
    "targets": [os.path.realpath("/proc/self/fd/%d" % n) for n in (0, 1, 2)],
}
with open("FOLDER/starts", "a") as starts:
    starts.write(json.dumps(seen) + "\n")
def echo(stream):
    while piece := stream.recv(65536):
        stream.sendall(piece)
    stream.close()
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
"#;
