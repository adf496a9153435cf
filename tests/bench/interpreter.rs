//! The interpreter that is measured: the release binary with directories and a socket of its own, ended with the value.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::connection::{Connection, Program};
use crate::processes;
use crate::user::as_user;

const START: Duration = Duration::from_secs(20);
/// After this it either keeps children waiting or is none that does.
const WARM: Duration = Duration::from_secs(8);
/// Lines of its log that are shown if it fails.
const TAIL: usize = 20;

pub struct Interpreter {
    process: Child,
    /// Its runtime directory, its state directory and its log.
    pub home: PathBuf,
}

impl Interpreter {
    /// To be called as the user. `name` is that of its directory, beside the program.
    pub fn start(program: &Path, name: &str, settings: &[(&str, &OsStr)]) -> Result<Self> {
        let home = program.with_file_name(name);
        DirBuilder::new().mode(0o700).create(&home)?;
        DirBuilder::new().mode(0o700).create(home.join("run"))?;
        let process = Command::new(program)
            .arg("interpreter")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &home)
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("XDG_STATE_HOME", home.join("state"))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.join("log"))?)
            .spawn()?;
        let mut interpreter = Interpreter { process, home };
        let deadline = Instant::now() + START;
        while interpreter.connect().is_err() {
            if let Some(status) = interpreter.process.try_wait()? {
                bail!("the interpreter ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("the interpreter does not listen");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(interpreter)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// To be called as the user: others are refused.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(&self.home.join("run/python-interpreter-mcp/interpreter.sock"))
    }

    /// Executes until children wait for programs, if they ever do.
    pub fn warm_up(&self, program: &Program) -> Result<()> {
        let mut connection = as_user(|| self.connect())?;
        let deadline = Instant::now() + WARM;
        for executed in 1.. {
            connection.execute(program)?;
            let waiting = executed >= 20 && !processes::waiting(&processes::tree(self.id())?).is_empty();
            if waiting || Instant::now() > deadline {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // Its spawner, and with that everything else, ends with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the processes beside the program in `directory` said last.
pub fn show_logs(directory: &Path) {
    for name in ["light", "leak", "heavy", "daemon", "fastmcp"] {
        let Ok(log) = fs::read_to_string(directory.join(name).join("log")) else { continue };
        let lines: Vec<_> = log.lines().collect();
        eprintln!("{name}: {}", lines[lines.len().saturating_sub(TAIL)..].join("\n"));
    }
}
