//! Who listens on the port of this machine where a service is looked for.

pub const DETECTED_PORT: u16 = 50081;
/// The state LISTEN in /proc/net/tcp.
const LISTENING: &str = "0A";
/// 127.0.0.1 and 0.0.0.0 in /proc/net/tcp: words in the machine's byte order.
const REACHED_BY_LOCALHOST: [[u32; 1]; 2] = [[u32::from_ne_bytes([127, 0, 0, 1])], [0]];
/// ::1, :: and ::ffff:127.0.0.1 in /proc/net/tcp6.
const REACHED_BY_LOCALHOST_6: [[u32; 4]; 3] = [
    [0, 0, 0, u32::from_ne_bytes([0, 0, 0, 1])],
    [0, 0, 0, 0],
    [0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), u32::from_ne_bytes([127, 0, 0, 1])],
];

/// Who listens on the port where a service is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    Nobody,
    /// This user or root, and nobody else.
    Trusted,
    Others,
}

pub fn listening() -> Listening {
    listening_on(DETECTED_PORT)
}

fn listening_on(port: u16) -> Listening {
    let uid = rustix::process::geteuid().as_raw();
    // Without IPv6 the second table is missing.
    let table = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut owners = listeners::<1>(&table("/proc/net/tcp"), port, &REACHED_BY_LOCALHOST);
    owners.extend(listeners::<4>(&table("/proc/net/tcp6"), port, &REACHED_BY_LOCALHOST_6));
    match owners.is_empty() {
        true => Listening::Nobody,
        false if are_trusted(&owners, uid) => Listening::Trusted,
        false => Listening::Others,
    }
}

/// Whether somebody listens, and only this user or root. A single other listener is a reason to refuse, because a connection may reach that
/// one. In a user namespace of its own (systemd's PrivateUsers=) the daemon sees root as 65534, and does not use a service of root.
fn are_trusted(owners: &[u32], uid: u32) -> bool {
    !owners.is_empty() && owners.iter().all(|owner| *owner == uid || *owner == 0)
}

/// The users who listen on `port` at one of the addresses; `table` is the text of /proc/net/tcp or tcp6.
fn listeners<const WORDS: usize>(table: &str, port: u16, addresses: &[[u32; WORDS]]) -> Vec<u32> {
    let owner = |line: &str| -> Option<u32> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (address, line_port) = fields.next()?.split_once(':')?;
        let state = fields.nth(1)?;
        let uid = fields.nth(3)?;
        let mut words = [0; WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            *word = u32::from_str_radix(address.get(index * 8..index * 8 + 8)?, 16).ok()?;
        }
        let listens = state == LISTENING && u16::from_str_radix(line_port, 16) == Ok(port);
        if listens && addresses.contains(&words) { uid.parse().ok() } else { None }
    };
    table.lines().skip(1).filter_map(owner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn row(address: &str, state: &str, uid: u32) -> String {
        format!(
            "{HEADER}   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  {uid}        0 9 1\n"
        )
    }

    fn owners(address: &str, state: &str) -> Vec<u32> {
        listeners(&row(address, state, 1000), DETECTED_PORT, &REACHED_BY_LOCALHOST)
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn finds_listeners_that_localhost_reaches() {
        assert_eq!(owners("0100007F:C3A1", "0A"), [1000]);
        assert_eq!(owners("00000000:C3A1", "0A"), [1000]);
        for address in [
            "00000000000000000000000001000000:C3A1",
            "00000000000000000000000000000000:C3A1",
            "0000000000000000FFFF00000100007F:C3A1",
        ] {
            assert_eq!(listeners(&row(address, "0A", 7), DETECTED_PORT, &REACHED_BY_LOCALHOST_6), [7], "{address}");
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn passes_over_other_ports_states_addresses_and_broken_lines() {
        assert!(owners("0100007F:C3A2", "0A").is_empty());
        assert!(owners("0100007F:C3A1", "01").is_empty());
        assert!(owners("0A00007F:C3A1", "0A").is_empty());
        assert!(owners("0100:C3A1", "0A").is_empty());
        assert!(listeners("", DETECTED_PORT, &REACHED_BY_LOCALHOST).is_empty());
        assert!(listeners("x\n0: y\n\u{20ac}\u{20ac}\n", DETECTED_PORT, &REACHED_BY_LOCALHOST).is_empty());
    }

    #[test]
    fn trusts_only_this_user_and_root() {
        assert!(are_trusted(&[1000], 1000));
        assert!(are_trusted(&[0, 1000], 1000));
        assert!(!are_trusted(&[], 1000));
        assert!(!are_trusted(&[1001], 1000));
        assert!(!are_trusted(&[1000, 1001], 1000));
        assert!(!are_trusted(&[65534], 1000));
    }

    /// The port stays bound, so that no other test can listen on it. Nothing is closed, because a process that another test has just forked
    /// would keep the listener open.
    #[tokio::test]
    async fn a_listener_of_this_user_is_found_in_the_kernel_s_own_tables() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listening_on(port), Listening::Nobody);
        let _listener = socket.listen(1).unwrap();
        assert_eq!(listening_on(port), Listening::Trusted);
    }
}
