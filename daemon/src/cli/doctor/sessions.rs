//! Who runs and who starts whom: the daemon, and systemd where there is one.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Finding;
use crate::cli::running::{ask, ask_interpreter};
use crate::status::Status;

const SOCKET: &str = "python-interpreter-mcpd.socket";

pub fn daemon() -> Finding {
    const NAME: &str = "daemon";
    match ask::<Status>("/status") {
        Ok(Some(status)) if status.version != env!("CARGO_PKG_VERSION") => Finding::note(
            NAME,
            format!(
                "version {} runs and this is {}: `python-interpreter-mcpd stop`, and the next call starts this one",
                status.version,
                env!("CARGO_PKG_VERSION")
            ),
        ),
        Ok(Some(status)) => Finding::ok(
            NAME,
            format!("process {}, started by {}, {} clients", status.process, status.started_by, status.clients.len()),
        ),
        Ok(None) => Finding::ok(NAME, "it does not run; the next client starts it"),
        Err(error) => Finding::failed(NAME, format!("{error:#}")),
    }
}

/// How the interpreter that runs bounds memory; none where none runs.
pub fn memory_limit() -> Option<Finding> {
    const NAME: &str = "memory limit";
    let health = ask_interpreter::<Value>("/healthz").ok().flatten()?;
    Some(match health["memory_limit"].as_str()? {
        "control group" => Finding::ok(NAME, "kept by control groups"),
        how => Finding::note(
            NAME,
            format!(
                "{how}, not kept by control groups: for that the interpreter needs its systemd unit, python-interpreter.socket, on a \
                 system that delegates the memory controller to users"
            ),
        ),
    })
}

pub fn systemd() -> Finding {
    const NAME: &str = "systemd";
    let manager = std::env::var_os("XDG_RUNTIME_DIR").map(|session| Path::new(&session).join("systemd/private"));
    if !manager.is_some_and(|manager| manager.exists()) {
        return Finding::ok(
            NAME,
            "there is no user manager here (no XDG_RUNTIME_DIR/systemd); clients start the daemon by themselves",
        );
    }
    let Some(state) = show("LoadState").zip(show("ActiveState")) else {
        return Finding::note(NAME, "`systemctl --user` gives no answer; clients start the daemon by themselves");
    };
    match (state.0.as_str(), state.1.as_str()) {
        ("not-found", _) => Finding::ok(NAME, "its units are not installed; clients start the daemon by themselves"),
        ("loaded", "active") => Finding::ok(NAME, format!("{SOCKET} is active")),
        ("loaded", state) => Finding::note(
            NAME,
            format!("{SOCKET} is {state}: `systemctl --user enable --now {SOCKET} python-interpreter.socket`"),
        ),
        (state, _) => {
            Finding::failed(NAME, format!("{SOCKET} is {state}: `systemctl --user status {SOCKET}` says why"))
        }
    }
}

fn show(property: &str) -> Option<String> {
    let mut command = Command::new("systemctl");
    command.args(["--user", "show", "--value", "--property", property, SOCKET]);
    let shown = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let value = String::from_utf8(shown.stdout).ok()?.trim().to_owned();
    (shown.status.success() && !value.is_empty()).then_some(value)
}
