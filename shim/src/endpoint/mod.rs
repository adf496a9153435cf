//! Where a user's two sockets are, who may answer on them, and how they are bound, reached or their owner started.
//! Leaves out what is said over them.

use std::{
    env, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use interprocess::{local_socket::traits::StreamCommon as _, os::unix::uds_local_socket::Stream};

mod directory;
mod error;
mod listener;
mod owned_path;
mod owner;
mod start;
mod unit;

pub use directory::{config_directory, runtime_directory, state_directory, state_place};
pub use error::EndpointError;
pub use listener::{bind, connect, remove_stale};
pub use owned_path::OwnedPath;
pub use owner::{Owner, daemon, daemon_log, reason_in};
pub use start::{connect_or_start, ensure_listening};

/// Which of the two sockets in the runtime directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The daemon's: MCP, and HTTP to look inside.
    Mcp,
    /// The embedded interpreter's REST API.
    Interpreter,
}

impl Socket {
    /// The systemd unit that listens on it, where it is installed.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Mcp => "python-interpreter-mcpd.socket",
            Self::Interpreter => "python-interpreter.socket",
        }
    }

    pub fn file_name(self) -> &'static str {
        match self {
            Self::Mcp => "mcp.sock",
            Self::Interpreter => "interpreter.sock",
        }
    }
}

/// The socket's path in the checked runtime directory.
pub fn socket_path(socket: Socket) -> Result<PathBuf, EndpointError> {
    Ok(runtime_directory()?.join(socket.file_name()))
}

/// What the user's systemd says of a unit, as `ActiveState`: nothing where there is none, or where it does not answer in time.
pub fn unit_property(unit: &str, name: &str) -> Option<String> {
    unit::property(unit, name, &socket_path(Socket::Mcp).ok()?)
}

/// Whether the other end belongs to this user. Root is nobody special, unless we are root ourselves.
pub fn peer_is_this_user(stream: impl AsFd) -> io::Result<bool> {
    // Wrapped as a duplicate because credentials are asked of an owner. rustix would not do: its process id cannot be 0,
    // and the kernel reports 0 for a peer in another pid namespace.
    let duplicate: OwnedFd = stream.as_fd().try_clone_to_owned()?;
    let peer = Stream::from(duplicate).peer_creds()?.euid();
    Ok(peer == Some(user()))
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

/// The effective user id: the one that the kernel gives to what we create, and shows to our peers.
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A variable that names an absolute path; a relative one would mean another place in every process, so it is ignored.
fn absolute_path(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
