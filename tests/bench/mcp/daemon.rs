//! The daemon and the shim that are measured: the release binaries, side by side in a home of their own.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

const START: Duration = Duration::from_secs(20);
const READY: &[u8] = b"READY=1\n";

/// The process ends with the value.
pub struct Daemon {
    process: Child,
    shim: PathBuf,
    home: PathBuf,
}

impl Daemon {
    /// To be called as the user. `program` has the shim beside it. `name` is that of its home, beside the program.
    pub fn start(program: &Path, name: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let home = program.with_file_name(name);
        DirBuilder::new().mode(0o700).create(&home)?;
        let ready = home.join("ready");
        let notified = UnixDatagram::bind(&ready)?;
        notified.set_read_timeout(Some(START))?;
        let process = command(program, &home)
            .args(["serve", "--background"])
            .envs(settings.iter().copied())
            .env("NOTIFY_SOCKET", &ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A file that it bounds, as where a client starts it: the log is part of what a call costs.
            .stderr(fs::File::create(home.join("log"))?)
            .spawn()?;
        let daemon = Daemon { process, shim: program.with_file_name("python-interpreter-mcp"), home };
        let mut message = [0; 64];
        let length = notified.recv(&mut message).context("the daemon does not become ready")?;
        ensure!(&message[..length] == READY, "the daemon says {:?}", String::from_utf8_lossy(&message[..length]));
        Ok(daemon)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A shim that finds this daemon, and could start no other.
    pub fn shim(&self) -> Command {
        let mut command = command(&self.shim, &self.home);
        command.env("PYTHON_INTERPRETER_MCPD", "/nonexistent/python-interpreter-mcpd");
        command
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What a shim would connect to.
    pub fn socket(&self) -> PathBuf {
        self.home.join("python-interpreter-mcp/mcp.sock")
    }

    pub fn connect(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(START))?;
        Ok(stream)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// With the few variables that clients pass on. By the last one `run` knows what to end, should it come to that.
pub fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("XDG_RUNTIME_DIR", home);
    command
}
