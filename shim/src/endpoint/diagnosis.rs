//! Why a daemon ended, or does not answer.

use std::{path::Path, time::Duration};

use super::{
    log::{daemon_log, reason_in},
    socket::{Socket, socket_path},
    unit,
};

/// A property of a unit, such as `ActiveState`; none without a user's systemd, or if it does not answer in time.
pub fn unit_property(unit: &str, name: &str) -> Option<String> {
    unit::property(unit, name, &socket_path(Socket::Mcp).ok()?)
}

/// Where to find out why the daemon at `socket` ended, with its last error if there is one.
pub fn why_daemon_ended(socket: &Path) -> String {
    match unit::log(Socket::Mcp.unit(), socket) {
        Some(log) => format!("see `{log}`"),
        None => reason_in(daemon_log().as_deref()),
    }
}

/// Why the daemon at `socket` has not answered for `waited`, if systemd starts it and knows the reason.
pub fn why_daemon_does_not_answer(socket: &Path, waited: Duration) -> Option<String> {
    unit::trouble(Socket::Mcp.unit(), socket, waited)
}
