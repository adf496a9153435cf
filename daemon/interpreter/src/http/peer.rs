//! Whose the other end of a loopback TCP connection is. TCP carries no credentials, but the kernel lists every socket with its
//! owner.

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// The user at `peer`, the other end of a connection to `local` on this machine; `None` where the kernel lists none.
/// Reads a table that is long on a busy machine; call it where blocking is allowed.
pub fn owner(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let table = if peer.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    find(&fs::read_to_string(table).ok()?, peer, local)
}

fn find(table: &str, peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let (theirs, ours) = (listed(peer), listed(local));
    table.lines().skip(1).find_map(|line| {
        // "number: local remote state queues timer retransmits uid …", seen from their end.
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_it = fields.next()? == theirs && fields.next()? == ours;
        if is_it { fields.nth(4)?.parse().ok() } else { None }
    })
}

/// An address as the table writes it: the kernel's words in the machine's byte order.
fn listed(address: SocketAddr) -> String {
    let word = |bytes: &[u8]| format!("{:08X}", u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let words: String = match address.ip() {
        IpAddr::V4(ip) => word(&ip.octets()),
        IpAddr::V6(ip) => ip.octets().chunks_exact(4).map(word).collect(),
    };
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::owner;

    #[test]
    fn a_connection_of_this_user_is_found_in_the_kernels_own_table() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // IPv6 may be switched off.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (peer, local) = (client.local_addr().unwrap(), listener.local_addr().unwrap());
            assert_eq!(owner(peer, local), Some(rustix::process::geteuid().as_raw()), "{address}");
            drop(client);
            assert_eq!(owner(local, local), None);
        }
    }
}
