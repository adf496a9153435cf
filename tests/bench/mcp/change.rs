//! How soon a client has its answer where no daemon runs: the first one, from a daemon that is started with its socket listening already
//! and the client waiting, as by systemd; and the next one after a daemon was killed.

use std::fs::{self, DirBuilder};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;

use super::client::{self, Client};
use super::daemon::command;
use super::stub::Stub;
use crate::report::{Report, at_most};
use crate::rounds::{Rounds, interleave};
use crate::user::as_user;

const DEADLINE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// As whoever passes on a socket does it: only the process itself knows its id.
const PASS_ON: &str = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" serve 3<&0 </dev/null"#;

pub fn measure(program: &Path, stub: &Stub, rounds: Rounds, report: &mut Report) -> Result<()> {
    let [activations, recoveries] = as_user(|| {
        let activated = World::new(program, "activated", stub)?;
        let recovered = World::new(program, "recovered", stub)?;
        // What a shim has started is ended by name.
        let _ended = EndOf(&recovered);
        let mut shim = Client::connect(&mut recovered.command(super::SHIM))?;
        shim.call()?;
        interleave(rounds, [&mut || activated.activate(), &mut || recovered.recover(&mut shim)])
    })?;
    for (name, what, times) in [
        ("activation_ms", "socket activation until initialize is answered", &activations),
        ("recovery_ms", "a killed daemon's end until the next call is answered", &recoveries),
    ] {
        let (p50, p99) = (times.quantile(0.50), times.quantile(0.99));
        let detail = format!("{what}, p50 (p99 {p99:.1}), {} rounds", times.count());
        let figures = json!({ "p50_ms": p50, "p99_ms": p99, "rounds": times.count() });
        report.add(name, Some(p50), at_most(50.0, 10.0), detail, figures);
    }
    Ok(())
}

/// A home in which daemons come and go.
struct World {
    program: PathBuf,
    home: PathBuf,
    url: String,
}

impl World {
    fn new(program: &Path, name: &str, stub: &Stub) -> Result<Self> {
        let home = program.with_file_name(name);
        DirBuilder::new().mode(0o700).create(&home)?;
        Ok(Self { program: program.to_owned(), home, url: stub.url() })
    }

    fn command(&self, name: impl AsRef<Path>) -> Command {
        let mut command = command(&self.program.with_file_name(name.as_ref()), &self.home);
        command.env("PYTHON_INTERPRETER_MCP_URL", &self.url);
        command
    }

    fn activate(&self) -> Result<Duration> {
        let path = self.home.join("socket");
        let listener = UnixListener::bind(&path)?;
        let stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        (&stream).write_all(&client::initialize())?;
        let mut command = self.command("/bin/sh");
        command.args(["-c", PASS_ON]).arg(&self.program).stdin(OwnedFd::from(listener)).stderr(Stdio::null());
        let started = Instant::now();
        let _daemon = Ending(command.spawn()?);
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        let elapsed = started.elapsed();
        fs::remove_file(&path)?;
        ensure!(answer.contains("\"result\""), "the daemon answered {answer:?}");
        Ok(elapsed)
    }

    fn recover(&self, shim: &mut Client) -> Result<Duration> {
        let daemon = self.daemon().context("no daemon serves")?;
        let process = pidfd_open(daemon, PidfdFlags::empty())?;
        pidfd_send_signal(&process, Signal::KILL)?;
        ensure!(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&DEADLINE))? > 0, "the daemon does not end");
        shim.call_after_change()
    }

    /// The daemon that a shim has started here.
    fn daemon(&self) -> Option<Pid> {
        let mark = format!("XDG_RUNTIME_DIR={}\0", self.home.display());
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let id = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let arguments = fs::read(entry.path().join("cmdline")).ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let serves = arguments.split(|byte| *byte == 0).nth(1) == Some(b"serve");
            (serves && String::from_utf8_lossy(&environment).contains(&mark)).then_some(id)
        })
    }
}

struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct EndOf<'a>(&'a World);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        if let Some(daemon) = self.0.daemon() {
            let _ = rustix::process::kill_process(daemon, Signal::KILL);
        }
    }
}
