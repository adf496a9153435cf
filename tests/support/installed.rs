//! Software from PyPI and npm, installed on first use for all tests and their later runs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// Everything comes over the network.
const DEADLINE: Duration = Duration::from_secs(300);

/// The folder `name` as `build` makes it, which gets the folder and the log to write. It is built again when something else is `wanted`
/// than it was built from, or when building it did not come to its end.
pub fn install(
    name: &str,
    wanted: &str,
    build: impl FnOnce(&Path, &Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    install_in("test-software", name, wanted, build)
}

/// The same in another directory than that of the tests' software.
pub fn install_in(
    directory: &str,
    name: &str,
    wanted: &str,
    build: impl FnOnce(&Path, &Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = software(directory)?;
    let (place, log) = (folder.join(name), folder.join(format!("{name}.log")));
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    let lock = File::create(folder.join(format!("{name}.lock"))).map_err(failed)?;
    let started = Instant::now();
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if started.elapsed() > DEADLINE {
            return Err("another test has been installing it for too long".to_owned());
        }
        thread::sleep(Duration::from_millis(20));
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

/// A directory of software, which exists: below cargo's target directory. If that is closed to other users, as one of whom root's
/// interpreters run, it is below /var/tmp. `tests/system/software` prints the same.
fn software(name: &str) -> Result<PathBuf, String> {
    let uid = rustix::process::getuid();
    let below_target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(name);
    let is_open = |directory: &Path| fs::metadata(directory).is_ok_and(|status| status.mode() & 0o001 != 0);
    let folder = match !uid.is_root() || below_target.ancestors().skip(1).all(is_open) {
        true => below_target,
        false => PathBuf::from(format!("/var/tmp/python-interpreter-mcp-{name}-{}", uid.as_raw())),
    };
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    // Anybody can create a directory below /var/tmp.
    match fs::symlink_metadata(&folder) {
        Ok(status) if status.is_dir() && status.uid() == uid.as_raw() => Ok(folder),
        _ => Err(format!("{} is not a directory of this user", folder.display())),
    }
}

/// Runs a command to its end. What it says is kept in `log`; its last line is the reason for a failure. Others may read what it makes.
pub fn run(command: &Command, log: &Path) -> Result<(), String> {
    let failed = |reason: String| format!("{}: {reason}", command.get_program().display());
    let opened = File::options().create(true).append(true).open(log).and_then(|log| Ok((log.try_clone()?, log)));
    let (stdout, stderr) = opened.map_err(|error| failed(error.to_string()))?;
    let mut bounded = Command::new("timeout");
    bounded.arg("--kill-after=10").arg(DEADLINE.as_secs().to_string());
    bounded.args(["sh", "-c", "umask 022; exec \"$0\" \"$@\""].map(OsStr::new));
    bounded.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        bounded.current_dir(folder);
    }
    let status = bounded.stdin(Stdio::null()).stdout(stdout).stderr(stderr).status();
    let status = status.map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(failed(format!("{status}, {last:?}; more is in {}", log.display())))
}
