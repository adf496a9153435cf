//! A user's world of its own, in which clients launch the real shim: private directories, and the processes that came of
//! it, which end with it. Leaves out what is said.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for an event that should come at once: generous, because the machine is shared.
pub const PATIENCE: Duration = Duration::from_secs(60);
const DAEMON: &str = env!("CARGO_BIN_EXE_python-interpreter-mcpd");
const SHIM: &str = "python-interpreter-mcp";
const SHIM_SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shim/src");
const SESSION: &str = "XDG_RUNTIME_DIR";

/// The shim, which finds the daemon next to itself. It belongs to another crate than this test, so cargo builds it only
/// together with that crate's tests.
pub fn shim() -> PathBuf {
    let shim = Path::new(DAEMON).with_file_name(SHIM);
    let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    let built = changed(&shim);
    let is_current = built.is_some() && newest(Path::new(SHIM_SOURCES), &changed) <= built;
    assert!(is_current, "{} is missing or old: run `cargo test` in the workspace, which builds it", shim.display());
    shim
}

fn newest(folder: &Path, changed: &impl Fn(&Path) -> Option<SystemTime>) -> Option<SystemTime> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter_map(|path| if path.is_dir() { newest(&path, changed) } else { changed(&path) }).max()
}

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

    /// A command with the few variables that clients pass on, and those that keep it in this world.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", self.path()).env(SESSION, self.path()).env("XDG_STATE_HOME", self.path().join("state"));
        command
    }

    pub fn shims(&self) -> Vec<u32> {
        self.those(|process| process.program() == SHIM)
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
        let is_daemon = |process: &Process| process.program() == "python-interpreter-mcpd";
        self.those(|process| is_daemon(process) && process.arguments.get(1).is_some_and(|word| word == command))
    }

    fn those(&self, wanted: impl Fn(&Process) -> bool) -> Vec<u32> {
        self.processes().into_iter().filter(wanted).map(|process| process.id).collect()
    }

    /// The living processes that have this world's runtime directory in their environment, and their descendants: a slot's
    /// have another environment.
    fn processes(&self) -> Vec<Process> {
        let (mut ours, mut others): (Vec<_>, Vec<_>) =
            living_processes().into_iter().partition(|process| process.session.as_deref() == Some(self.path()));
        loop {
            let known: HashSet<u32> = ours.iter().map(|process| process.id).collect();
            let (children, rest): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|process| known.contains(&process.parent));
            if children.is_empty() {
                return ours;
            }
            ours.extend(children);
            others = rest;
        }
    }

    fn signal(&self, signal: Signal) {
        for process in self.processes() {
            if let Some(id) = i32::try_from(process.id).ok().and_then(Pid::from_raw) {
                let _ = kill_process(id, signal);
            }
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

/// The living processes of this name, whoever they belong to: threads and programs may name themselves.
pub fn named(name: &str) -> Vec<u32> {
    living_processes().into_iter().filter(|process| process.name == name).map(|process| process.id).collect()
}

#[derive(Debug)]
struct Process {
    id: u32,
    parent: u32,
    name: String,
    arguments: Vec<String>,
    /// Its runtime directory; `None` also where its environment cannot be read.
    session: Option<PathBuf>,
}

impl Process {
    /// `None` if it has ended. A process that nobody has waited for yet has ended.
    fn read(id: u32) -> Option<Self> {
        let folder = PathBuf::from(format!("/proc/{id}"));
        // "id (name) state parent …", where the name may hold anything.
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(") ")?;
        let mut fields = after.split(' ');
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        let name = before.split_once('(')?.1.to_owned();
        let words = fs::read(folder.join("cmdline")).unwrap_or_default();
        let arguments = words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let environment = fs::read(folder.join("environ")).unwrap_or_default();
        let session = environment.split(|byte| *byte == 0).find_map(|variable| {
            let value = variable.strip_prefix(SESSION.as_bytes())?.strip_prefix(b"=")?;
            Some(PathBuf::from(OsStr::from_bytes(value)))
        });
        Some(Self { id, parent, name, arguments, session })
    }

    fn program(&self) -> &str {
        self.arguments.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
    }
}

fn living_processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| Process::read(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
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

/// Asks until it is so.
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(happens_within(PATIENCE, is_so), "in vain: {what}");
}

pub fn happens_within(deadline: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}
