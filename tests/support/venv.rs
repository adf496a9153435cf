//! A virtual environment with the packages that programs use most, made once for all tests and their later runs. Leaves out
//! which interpreter uses it.

use std::{
    env, fs,
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use rustix::fs::{FlockOperation, flock};

/// The path of one to use as it is, instead of the one that is made here.
const SETTING: &str = "PYTHON_INTERPRETER_MCP_TEST_VENV";
const PACKAGES: [&str; 4] = ["numpy", "pandas", "matplotlib", "pillow"];
/// Its base, because a user's own Python may lie where another user, as whom the interpreter runs, cannot look.
const BASE: &str = "/usr/bin/python3";

/// Its `bin/python`. Where it cannot be made, the test that needs it is passed over, but not where CI runs it.
pub fn python() -> Option<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| match env::var_os(SETTING) {
        Some(path) => usable(Path::new(&path)).map_err(|reason| format!("{SETTING}: {reason}")),
        None => made(),
    });
    match found {
        Ok(python) => Some(python.clone()),
        Err(reason) => {
            assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "there is no environment with packages: {reason}");
            // Past the capture of a test's output, which is dropped when the test passes.
            let _ = writeln!(io::stderr(), "passed over: there is no environment with packages: {reason}");
            None
        }
    }
}

/// Not in a temporary directory, which may be empty after each start of the machine.
fn made() -> Result<PathBuf, String> {
    let user = rustix::process::getuid().as_raw();
    let path = PathBuf::from(format!("/var/tmp/python-interpreter-mcp-test-venv-{user}"));
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let lock = path.with_extension("lock");
    // Where everyone may write, a link that another user has left there is not followed.
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let lock =
        File::options().create(true).append(true).mode(0o600).custom_flags(nofollow).open(lock).map_err(failed)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    // Written last, so it stands for everything else.
    let complete = path.join("complete");
    if complete.exists()
        && let Ok(python) = usable(&path)
    {
        return Ok(python);
    }
    if let Ok(status) = fs::symlink_metadata(&path) {
        owned(&path, &status)?;
        fs::remove_dir_all(&path).map_err(failed)?;
    }
    run(Command::new(BASE).args(["-m", "venv"]).arg(&path))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"];
    run(Command::new(path.join("bin/python")).args(install).args(PACKAGES))?;
    let python = usable(&path)?;
    fs::write(complete, "").map_err(failed)?;
    Ok(python)
}

/// Whether what is there is ours or root's, and its Python, which may be another version by now, finds the packages.
fn usable(path: &Path) -> Result<PathBuf, String> {
    owned(path, &fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?)?;
    let python = path.join("bin/python");
    let find = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))";
    run(Command::new(&python).args(["-I", "-c", find]).args(PACKAGES.map(|name| name.replace("pillow", "PIL"))))?;
    Ok(python)
}

fn owned(path: &Path, status: &fs::Metadata) -> Result<(), String> {
    let trusted = [0, rustix::process::getuid().as_raw()].contains(&status.uid()) && status.mode() & 0o022 == 0;
    if status.is_dir() && trusted {
        return Ok(());
    }
    Err(format!("{} is not a directory that only its owner, this user or root, can write to", path.display()))
}

/// Runs a command to its end; the last line that it says is the reason for a failure. Others may read what it makes.
fn run(command: &mut Command) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "umask 022; exec \"$@\" 2>&1", "sh"]).arg(command.get_program()).args(command.get_args());
    let failed = |reason: String| format!("{}: {reason}", command.get_program().display());
    let spawned = shell.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut process = spawned.map_err(|error| failed(error.to_string()))?;
    let mut said = Vec::new();
    if let Some(output) = &mut process.stdout {
        output.read_to_end(&mut said).map_err(|error| failed(error.to_string()))?;
    }
    let status = process.wait().map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    if status.success() { Ok(()) } else { Err(failed(format!("{status}, {last:?}"))) }
}
