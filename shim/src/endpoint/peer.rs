//! Who is at the other end of a Unix socket.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use interprocess::{local_socket::traits::StreamCommon as _, os::unix::uds_local_socket::Stream};

/// The effective user id, which the kernel gives to what we create and shows to our peers.
pub(super) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether the other end belongs to this user. Root is refused as well, unless we are root.
pub fn peer_is_this_user(stream: impl AsFd) -> io::Result<bool> {
    // A duplicate, because `peer_creds` needs an owned stream. rustix does not work here: its process id cannot be 0, which the kernel
    // reports for a peer in another pid namespace.
    let duplicate: OwnedFd = stream.as_fd().try_clone_to_owned()?;
    let peer = Stream::from(duplicate).peer_creds()?.euid();
    Ok(peer == Some(user()))
}
