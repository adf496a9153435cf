//! A user's world of its own, in which clients launch the real shim: private directories, and the processes that came of
//! it, which end with it. Leaves out what is said.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::processes::{self, Process};
use super::{PATIENCE, happens_within};

const SHIM: &str = "python-interpreter-mcp";

/// A home and a runtime directory that no other test shares. Dropping it ends every process that belongs to it.
pub struct World(tempfile::TempDir);

impl World {
    pub fn new() -> Self {
        // Not below TMPDIR, whose name may be too long for a socket.
        Self(tempfile::Builder::new().prefix("clients-").tempdir_in("/tmp").unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A command with the few variables that clients pass on, and those that keep it in this world. The machine's own Python is found
    /// before any other.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env_clear().env("PATH", format!("/usr/bin:/bin:{path}"));
        command
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path())
            .env("XDG_STATE_HOME", self.path().join("state"));
        command
    }

    pub fn shims(&self) -> Vec<u32> {
        self.those(|arguments| program(arguments) == SHIM)
    }

    pub fn daemons(&self) -> Vec<u32> {
        self.serving("serve")
    }

    pub fn interpreters(&self) -> Vec<u32> {
        self.serving("interpreter")
    }

    /// How many programs the embedded interpreter says that it runs.
    pub fn programs(&self) -> u64 {
        let socket = self.path().join("python-interpreter-mcp/interpreter.sock");
        let Ok(mut stream) = UnixStream::connect(socket) else { return 0 };
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(body).unwrap()["slots"]["in_use"].as_u64().unwrap()
    }

    fn serving(&self, command: &str) -> Vec<u32> {
        self.those(|arguments| {
            program(arguments) == "python-interpreter-mcpd" && arguments.get(1).is_some_and(|word| word == command)
        })
    }

    fn those(&self, wanted: impl Fn(&[String]) -> bool) -> Vec<u32> {
        let processes = self.processes().into_iter();
        processes.filter(|process| wanted(&process.arguments())).map(|process| process.id).collect()
    }

    fn processes(&self) -> Vec<Process> {
        processes::of_session(self.path())
    }

    fn signal(&self, signal: Signal) {
        for process in self.processes() {
            processes::signal(process.id, signal);
        }
    }

    fn ends_within(&self, deadline: Duration) -> bool {
        happens_within(deadline, || self.processes().is_empty())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        if self.ends_within(Duration::from_secs(5)) {
            return;
        }
        // Whoever was being started meanwhile is found in another round.
        let ended = happens_within(PATIENCE, || {
            self.signal(Signal::KILL);
            self.processes().is_empty()
        });
        // A second panic would end the whole test program, and the first one's reason is worth more.
        assert!(
            ended || thread::panicking(),
            "processes of {} are left: {:?}",
            self.path().display(),
            self.processes()
        );
    }
}

/// The name of the program that was started with these words.
fn program(arguments: &[String]) -> &str {
    arguments.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
}

/// A child that does not outlive its test.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Waits for the end; `None` if it does not come.
    pub fn ended_within(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let mut status = None;
        happens_within(deadline, || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
