//! Reaches a socket's owner, or starts it with the socket already listening, as systemd would.

use std::{
    env,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags},
    io::FdFlags,
};

use super::{
    error::EndpointError,
    listener::{Lock, bind_under, connect},
    log::reason_in,
    owner::Owner,
    unit,
};

/// A larger log is renamed (one generation is kept) before the next start.
const LOG_BYTES: u64 = 1024 * 1024;

/// The first shell exits at once, so that init adopts the owner and there is no zombie. The braces, because a background command's stdin
/// is /dev/null before its redirections are applied.
const DETACH: &str = r#"{ /bin/sh -c "$0" "$@" & } 3<&0 </dev/null"#;
/// LISTEN_PID must be the owner's process id, which only code in that process knows.
const ANNOUNCE: &str = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@""#;
/// A service manager's variables for *this* process, which the owner would take for its own.
const NOT_PASSED_ON: [&str; 6] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// Connects. If nobody listens, starts the socket unit if it is installed, else binds the socket and starts the owner with it as fd 3. Two
/// callers at once start one owner. If the owner ends at once, so does the connection.
pub fn connect_or_start(path: &Path, owner: &Owner) -> Result<UnixStream, EndpointError> {
    Ok(reach(path, owner)?.0)
}

/// Makes sure that somebody listens; true if the owner or its unit was started for that.
pub fn ensure_listening(path: &Path, owner: &Owner) -> Result<bool, EndpointError> {
    Ok(reach(path, owner)?.1 == Listened::Since)
}

/// Whether somebody listened already.
#[derive(PartialEq, Eq)]
enum Listened {
    Before,
    Since,
}

fn reach(path: &Path, owner: &Owner) -> Result<(UnixStream, Listened), EndpointError> {
    if let Some(stream) = connect(path)? {
        return Ok((stream, Listened::Before));
    }
    if let Some(unit) = owner.unit
        && unit::start(unit, path)?
        && let Some(stream) = connect(path)?
    {
        return Ok((stream, Listened::Since));
    }
    let lock = Lock::take(path)?;
    // The previous holder of the lock has probably started it.
    if let Some(stream) = connect(path)? {
        return Ok((stream, Listened::Before));
    }
    let listener = bind_under(&lock, path)?;
    start(owner, listener.as_fd()).map_err(|source| EndpointError::Start { program: owner.program.clone(), source })?;
    // Our copy of the listener is still open, so this succeeds even if the owner has ended already.
    let ended = || EndpointError::EndedAtOnce { program: owner.program.clone(), hint: reason_in(owner.log.as_deref()) };
    let stream = connect(path)?.ok_or_else(ended)?;
    Ok((stream, Listened::Since))
}

fn start(owner: &Owner, listener: BorrowedFd<'_>) -> io::Result<()> {
    keep_inherited_descriptors_to_ourselves();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", DETACH, ANNOUNCE]).arg(&owner.program).args(&owner.arguments);
    for variable in NOT_PASSED_ON {
        command.env_remove(variable);
    }
    // Configurations of clients often have empty variables, and an empty limit is wrong.
    for (name, value) in env::vars_os() {
        if value.is_empty() && name.to_string_lossy().starts_with("PYTHON_INTERPRETER_MCP") {
            command.env_remove(name);
        }
    }
    // Never our own stderr: clients read it until its end, and the owner outlives us.
    let log = owner.log.as_deref().and_then(|path| open_log(path).ok());
    command
        .stdin(listener.try_clone_to_owned()?)
        .stdout(Stdio::null())
        .stderr(log.map_or_else(Stdio::null, Stdio::from));
    // A process group of its own, so that Ctrl-C for the client does not reach it.
    let ended = command.current_dir("/").process_group(0).status()?;
    if ended.success() { Ok(()) } else { Err(io::Error::other(format!("/bin/sh: {ended}"))) }
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() > LOG_BYTES) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// Marks descriptors that a client leaked to us close-on-exec, so that the owner does not keep them. Our own are marked already.
fn keep_inherited_descriptors_to_ourselves() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        #[expect(unsafe_code, reason = "an inherited descriptor has no owner to borrow it from")]
        // SAFETY: it was open a moment ago, is borrowed for this one call only, and is neither closed nor read by it;
        // should another thread have closed it since, the call fails with EBADF or marks one that is marked already.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
}
