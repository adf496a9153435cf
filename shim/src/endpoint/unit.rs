//! Asks the user's systemd, through systemctl. If the socket unit is installed, systemd must listen: starting the owner beside it would make
//! a second one.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags},
};

use super::{error::EndpointError, peer::user};

/// How long systemctl may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// A daemon starts within a tenth of a second. After this long it has not, and clients learn so within 5 s.
const START_DEADLINE: Duration = Duration::from_secs(4);
/// How much of systemctl's message is repeated.
const SAID_BYTES: u64 = 400;
const INSTALLED: &str = "loaded";

/// Starts `unit`, whose socket is at `socket`. False if there is no such unit.
pub(super) fn start(unit: &str, socket: &Path) -> Result<bool, EndpointError> {
    // The socket's directory is in the session's runtime directory, as is systemd's.
    let Some(session) = socket.parent().and_then(Path::parent).filter(|session| has_manager(session)) else {
        return Ok(false);
    };
    // A manager that cannot be asked, or does not answer in time, counts as none.
    let Ok(Some((status, said))) = systemctl(session, &["start", "--quiet", unit]) else { return Ok(false) };
    if status.success() {
        return Ok(true);
    }
    if is_installed(unit, session) {
        let said = said.lines().next().unwrap_or("without a reason").to_owned();
        return Err(EndpointError::Unit { unit: unit.to_owned(), said });
    }
    Ok(false)
}

/// The command that shows the log of the service behind `unit`; none if systemd does not start it.
pub(super) fn log(unit: &str, socket: &Path) -> Option<String> {
    let session = socket.parent().and_then(Path::parent).filter(|session| has_manager(session))?;
    is_installed(unit, session).then(|| format!("journalctl --user -u {}", unit.trim_end_matches(".socket")))
}

/// A property of `unit`, such as `ActiveState`, if the user's systemd says it in time.
pub(super) fn property(unit: &str, name: &str, socket: &Path) -> Option<String> {
    let session = socket.parent().and_then(Path::parent).filter(|session| has_manager(session))?;
    let shown = systemctl(session, &["show", &format!("--property={name}"), "--value", unit]);
    shown.ok().flatten().filter(|(status, _)| status.success()).map(|(_, value)| value.trim().to_owned())
}

/// Why the service behind `unit` has not answered for `waited`; none if it runs or may still start.
pub(super) fn trouble(unit: &str, socket: &Path, waited: Duration) -> Option<String> {
    let session = socket.parent().and_then(Path::parent).filter(|session| has_manager(session))?;
    let service = unit.replace(".socket", ".service");
    let shown = systemctl(session, &["show", "--property=ActiveState,SubState,Result,ExecMainStatus", &service]);
    let (_, shown) = shown.ok().flatten().filter(|(status, _)| status.success())?;
    let value = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("");
    let what = match (value("ActiveState"), value("SubState")) {
        ("failed", _) | ("activating", "auto-restart" | "auto-restart-queued") => {
            format!("ended at its start (result {}, status {})", value("Result"), value("ExecMainStatus"))
        }
        // The state between two attempts.
        ("activating" | "inactive", _) if waited >= START_DEADLINE => {
            format!("has not started within {} s", waited.as_secs())
        }
        _ => return None,
    };
    let name = service.trim_end_matches(".service");
    Some(format!("{service} {what}; `systemctl --user status {name}` and `journalctl --user -u {name}` say more"))
}

fn is_installed(unit: &str, session: &Path) -> bool {
    let shown = systemctl(session, &["show", "--property=LoadState", "--value", unit]);
    matches!(shown, Ok(Some((_, state))) if state.trim() == INSTALLED)
}

/// Whether this user's systemd runs. A socket of another user does not count.
fn has_manager(session: &Path) -> bool {
    let found = fs::symlink_metadata(session.join("systemd/private"));
    found.is_ok_and(|found| found.file_type().is_socket() && found.uid() == user())
}

/// How systemctl ended, and its output; none if it did not end in time.
fn systemctl(session: &Path, arguments: &[&str]) -> io::Result<Option<(ExitStatus, String)>> {
    let mut command = Command::new("systemctl");
    // Clients strip XDG_RUNTIME_DIR. Colours are switched off, whatever is configured for terminals.
    command.arg("--user").args(arguments).env("XDG_RUNTIME_DIR", session).env("SYSTEMD_COLORS", "0");
    command.stdin(Stdio::null());
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds copies of the writing end, and the reading end would never end.
    drop(command);
    if !ends_in_time(&child)? {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
    let status = child.wait()?;
    let mut said = Vec::new();
    reader.take(SAID_BYTES).read_to_end(&mut said)?;
    Ok(Some((status, String::from_utf8_lossy(&said).into_owned())))
}

fn ends_in_time(child: &Child) -> io::Result<bool> {
    let process = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let deadline = Timespec::try_from(DEADLINE).ok();
    Ok(rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], deadline.as_ref())? > 0)
}
