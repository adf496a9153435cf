//! Why a daemon ended, or does not answer.

use std::{path::Path, time::Duration};

use super::{
    log::{daemon_log, reason_in},
    socket::{Socket, socket_path},
    unit,
};

/// What the user's systemd says of a unit, as `ActiveState`: nothing where there is none, or where it does not answer in time.
pub fn unit_property(unit: &str, name: &str) -> Option<String> {
    unit::property(unit, name, &socket_path(Socket::Mcp).ok()?)
}

/// Where to look for the reason why the daemon at `socket` ended, with its last error if that is at hand.
pub fn why_daemon_ended(socket: &Path) -> String {
    match unit::log(Socket::Mcp.unit(), socket) {
        Some(log) => format!("see `{log}`"),
        None => reason_in(daemon_log().as_deref()),
    }
}

/// Why the daemon at `socket` gives no answer to somebody who has `waited` for it, where systemd starts it and says so.
pub fn why_daemon_does_not_answer(socket: &Path, waited: Duration) -> Option<String> {
    unit::trouble(Socket::Mcp.unit(), socket, waited)
}
