//! The socket that systemd, or whoever started this process, has passed on (`LISTEN_FDS`, see sd_listen_fds(3)).

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::net::{AddressFamily, SocketType, sockopt};

#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    #[error("LISTEN_FDS and LISTEN_PID do not name a socket: {0}")]
    Environment(#[source] io::Error),
    #[error("exactly one socket is expected in LISTEN_FDS, not {0}")]
    Number(usize),
    #[error("the descriptor passed in LISTEN_FDS is not a listening Unix stream socket")]
    NotAListener,
}

pub struct Inherited {
    pub socket: OwnedFd,
    /// systemd keeps its sockets: their paths must not be removed.
    pub is_kept: bool,
}

/// The inherited listening socket, if there is one. Call it before any thread is started.
pub fn inherited() -> Result<Option<Inherited>, ActivationError> {
    // Only systemd sets LISTEN_FDNAMES. INVOCATION_ID is no sign of it, because everything that a unit starts inherits that.
    let is_kept = std::env::var_os("LISTEN_FDNAMES").is_some();
    #[expect(
        unsafe_code,
        reason = "removes the variables from the environment, so that no child takes them for its own"
    )]
    // SAFETY: it is called before this process has a second thread.
    let descriptors = unsafe { sd_notify::listen_fds_and_unset_env() };
    let mut descriptors = descriptors.map_err(ActivationError::Environment)?;
    let number = descriptors.len();
    let Some(descriptor) = descriptors.next() else { return Ok(None) };
    if number > 1 {
        return Err(ActivationError::Number(number));
    }
    #[expect(unsafe_code, reason = "an inherited descriptor is a bare number")]
    // SAFETY: LISTEN_FDS hands this descriptor to us, and nothing else in this process uses it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let is_listener = sockopt::socket_domain(&socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(&socket) == Ok(SocketType::STREAM)
        && sockopt::socket_acceptconn(&socket) == Ok(true);
    if is_listener { Ok(Some(Inherited { socket, is_kept })) } else { Err(ActivationError::NotAListener) }
}
