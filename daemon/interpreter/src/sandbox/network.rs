//! The slot's network: an empty namespace whose loopback interface is up, so that a program can only connect to itself. Or the host's
//! network, if the user has configured that.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use serde::{Deserialize, Serialize};

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

impl Network {
    /// CLONE_NEWNET if programs have a network namespace.
    pub fn namespace(self) -> libc::c_int {
        match self {
            Network::None => libc::CLONE_NEWNET,
            Network::Host => 0,
        }
    }
}

/// A network namespace with nothing but a loopback interface that is up. No capability in a slot counts in it, because it belongs to the outer
/// sandbox.
pub struct OwnNetwork {
    namespace: OwnedFd,
    when_new: Box<[u8]>,
}

/// The files of /proc/net that show what an unprivileged program can change. Without IPv6 some of these are missing.
const TOLD: [&str; 6] = ["dev", "snmp", "netstat", "snmp6", "rt6_stats", "ip6_flowlabel"];
/// More than all of it, in bytes.
const TOLD_LENGTH: usize = 16 * 1024;

impl OwnNetwork {
    /// Makes one, and moves this thread into it. /proc must be writable.
    pub fn make() -> io::Result<Self> {
        // SAFETY: only this thread's network changes, and no memory or descriptor.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET)? };
        bring_up_loopback()?;
        let namespace = openat(CWD, "/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(OwnNetwork { namespace, when_new: told()?.into() })
    }

    /// Moves this thread into it.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// Call it when all processes of a program have ended. True if they have left nothing: no socket exists, and the kernel tells what it told at the
    /// start. Nothing happens later either: only memberships of multicast groups would be reported later, and the filter of system calls
    /// refuses them. Moves this thread into it.
    pub fn is_as_new(&self) -> bool {
        let mut sockets = Vec::new();
        self.enter().is_ok()
            && read("sockstat", &mut sockets).is_ok()
            && sockets.starts_with(b"sockets: used 0\n")
            && told().is_ok_and(|told| *told == *self.when_new)
            && forget_routes().is_ok()
    }
}

/// Each CPU caches the routes that were looked up, even if nothing was sent, and tells when. A change of this setting, which is on for loopback
/// and means nothing without IPsec, makes the cache invalid.
fn forget_routes() -> io::Result<()> {
    ["0", "1"].iter().try_for_each(|value| fs::write("/proc/sys/net/ipv4/conf/lo/disable_policy", value))
}

fn told() -> io::Result<Vec<u8>> {
    let mut told = Vec::with_capacity(TOLD_LENGTH);
    for name in TOLD {
        read(name, &mut told)?;
    }
    Ok(told)
}

/// Appends what the kernel tells under this name; nothing if it does not know the name.
fn read(name: &str, told: &mut Vec<u8>) -> io::Result<()> {
    match openat(CWD, format!("/proc/thread-self/net/{name}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => loop {
            told.reserve(1024);
            if rustix::io::read(&file, spare_capacity(told))? == 0 {
                return Ok(());
            }
        },
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
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
