//! The slot's network: an empty namespace whose loopback interface is up, so that a program can only connect to itself. Or the host's
//! network, if the user has configured that.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use serde::{Deserialize, Serialize};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Which network programs have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Their own loopback only.
    #[default]
    None,
    /// The host's, including the services of this machine.
    Host,
}

/// Must be called while /proc is still writable.
pub fn prepare(network: Network) -> io::Result<()> {
    match network {
        Network::None => bring_up_loopback(),
        Network::Host => Ok(()),
    }
}

/// Smallest, initial and largest buffer of a TCP socket, in bytes. Small, because all network namespaces share one limit of the system.
const TCP_BUFFER: &str = "4096 8192 16384";

fn bring_up_loopback() -> io::Result<()> {
    for setting in ["tcp_rmem", "tcp_wmem"] {
        fs::write(format!("/proc/sys/net/ipv4/{setting}"), TCP_BUFFER)?;
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: a zeroed ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
