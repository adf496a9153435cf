//! The slot's network: an empty namespace whose loopback is up, so that a program can talk to itself and to nobody else. Or, when
//! the user has said so by name, the host's.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use serde::{Deserialize, Serialize};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// What of a network programs reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Only themselves.
    #[default]
    None,
    /// All that the host reaches, this machine's own services included.
    Host,
}

/// Must be called while /proc can be written to.
pub fn prepare(network: Network) -> io::Result<()> {
    match network {
        Network::None => bring_up_loopback(),
        Network::Host => Ok(()),
    }
}

/// Smallest, first and largest buffer of a TCP socket, in bytes: all networks together share one bound of the system.
const TCP_BUFFER: &str = "4096 8192 16384";

fn bring_up_loopback() -> io::Result<()> {
    for setting in ["tcp_rmem", "tcp_wmem"] {
        fs::write(format!("/proc/sys/net/ipv4/{setting}"), TCP_BUFFER)?;
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all-zero is a valid ifreq.
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
