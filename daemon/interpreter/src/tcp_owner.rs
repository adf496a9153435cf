//! Which user owns the other end of a loopback TCP connection. TCP carries no credentials, but the kernel lists every socket with its
//! owner in /proc/net.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

/// TCP_ESTABLISHED: both ends are open. The kernel lists a closed socket as root's.
const ESTABLISHED: &str = "01";

/// Most reads of the table. The kernel returns it in pieces, so a row may be missing or duplicated while sockets come and go.
const LOOKS: usize = 5;
/// How long a look-up waits for a free descriptor, and how often it tries.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// The user id of `peer`, the other end of a connection to `local` on this machine. `None` if the kernel lists no owner, or more than one.
/// Blocks: the tables are long on a busy machine.
pub fn owner(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let until = Instant::now() + PATIENCE;
    (0..LOOKS).find_map(|_| look(peer, local, until))
}

fn look(peer: SocketAddr, local: SocketAddr, until: Instant) -> Option<u32> {
    // An IPv6 socket can connect to an IPv4 address, and is then listed in the table for IPv6.
    let tables: &[&str] = if peer.is_ipv4() { &["tcp", "tcp6"] } else { &["tcp6"] };
    let mut owners = Vec::new();
    for table in tables {
        match read(table, until) {
            Ok(text) => owners.extend(found(&text, *table == "tcp6", peer, local)),
            // Without IPv6 its table does not exist.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    owners.dedup();
    match owners[..] {
        [owner] => Some(owner),
        _ => None,
    }
}

/// Waits while this process or the machine has no free descriptor: that says nothing about the peer.
fn read(table: &str, until: Instant) -> io::Result<String> {
    loop {
        match fs::read_to_string(format!("/proc/net/{table}")) {
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) && Instant::now() < until =>
            {
                thread::sleep(PAUSE);
            }
            read => return read,
        }
    }
}

fn found(table: &str, six: bool, peer: SocketAddr, local: SocketAddr) -> Vec<u32> {
    let (theirs, ours) = (listed(peer, six), listed(local, six));
    let owner = |line: &str| {
        // "number: local remote state queues timer retransmits uid timeout inode …" of the peer's socket.
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_it = fields.next()? == theirs && fields.next()? == ours && fields.next()? == ESTABLISHED;
        let owner = fields.nth(3)?.parse().ok()?;
        let has_owner = fields.nth(1)? != "0";
        (is_it && has_owner).then_some(owner)
    };
    table.lines().skip(1).filter_map(owner).collect()
}

/// An address as the table writes it: 32-bit words in the machine's byte order.
fn listed(address: SocketAddr, six: bool) -> String {
    let word = |bytes: &[u8]| format!("{:08X}", u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let six_words = |octets: [u8; 16]| octets.chunks_exact(4).map(word).collect::<String>();
    let words = match address.ip() {
        IpAddr::V4(ip) if six => six_words(Ipv4Addr::to_ipv6_mapped(&ip).octets()),
        IpAddr::V4(ip) => word(&ip.octets()),
        IpAddr::V6(ip) => six_words(ip.octets()),
    };
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

    use super::{found, owner};

    fn connected(listener: &TcpListener, to: SocketAddr) -> (TcpStream, SocketAddr, SocketAddr) {
        let client = TcpStream::connect(to).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let local = accepted.local_addr().unwrap();
        // Keep this end open: only the other end is looked at.
        std::mem::forget(accepted);
        (client, peer, local)
    }

    #[test]
    fn a_connection_of_this_user_is_found_in_the_kernels_own_table() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // IPv6 may be disabled.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let (_client, peer, local) = connected(&listener, listener.local_addr().unwrap());
            assert_eq!(owner(peer, local), Some(rustix::process::geteuid().as_raw()), "{address}");
            assert_eq!(owner(local, local), None);
        }
    }

    #[test]
    fn a_socket_for_ipv6_is_found_when_it_reaches_ipv4() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if TcpStream::connect(("::ffff:127.0.0.1", port)).is_ok() {
            listener.accept().unwrap();
            let (_client, peer, local) = connected(&listener, format!("[::ffff:127.0.0.1]:{port}").parse().unwrap());
            assert!(peer.is_ipv4());
            assert_eq!(owner(peer, local), Some(rustix::process::geteuid().as_raw()));
        }
    }

    #[test]
    fn a_connection_that_its_owner_has_closed_is_nobodys() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for half in [false, true] {
            let (mut client, peer, local) = connected(&listener, listener.local_addr().unwrap());
            client.write_all(b"POST /v1/execute HTTP/1.1\r\n").unwrap();
            // A close alone would not end the connection while a process that another test has just forked holds a copy of it.
            client.shutdown(if half { Shutdown::Write } else { Shutdown::Both }).unwrap();
            if !half {
                drop(client);
            }
            assert_eq!(owner(peer, local), None, "{half}");
        }
    }

    #[test]
    fn rows_of_ended_connections_are_passed_over() {
        let rows = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:C000 0100007F:C385 06 00000000:00000000 03:00001770 00000000     0        0 0 3 0000000000000000
   1: 0100007F:C000 0100007F:C385 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000
   2: 0100007F:C000 0100007F:C385 01 00000000:00000000 00:00000000 00000000  1001        0 4242 1 0000000000000000
";
        let (peer, local) = ("127.0.0.1:49152".parse().unwrap(), "127.0.0.1:50053".parse().unwrap());
        assert_eq!(found(rows, false, peer, local), if cfg!(target_endian = "little") { vec![1001] } else { vec![] });
    }
}
