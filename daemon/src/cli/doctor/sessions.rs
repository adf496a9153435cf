//! Whether the daemon runs, and whether systemd starts it.

use python_interpreter_mcp::endpoint;
use serde_json::Value;

use super::finding::Finding;
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

/// How the running interpreter bounds memory; none if none runs.
pub fn memory_limit() -> Option<Finding> {
    const NAME: &str = "memory limit";
    let health = ask_interpreter::<Value>("/healthz").ok().flatten()?;
    let because = health["memory_limit_because"].as_str().unwrap_or_default();
    Some(match health["memory_limit"].as_str()? {
        "control group" => Finding::ok(NAME, format!("kept by control groups, in {because}")),
        how => Finding::note(
            NAME,
            format!(
                "{how}, not kept by control groups ({because}): start it from a session with a user manager, or by its systemd unit"
            ),
        ),
    })
}

pub fn systemd() -> Finding {
    const NAME: &str = "systemd";
    let Some(load) = endpoint::unit_property(SOCKET, "LoadState") else {
        return Finding::ok(NAME, "there is no user manager here that answers; clients start the daemon by themselves");
    };
    let active = endpoint::unit_property(SOCKET, "ActiveState").unwrap_or_default();
    match (load.as_str(), active.as_str()) {
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
