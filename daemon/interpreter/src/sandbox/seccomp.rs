//! Seccomp: a filter that allows the system calls in `calls` and no others.
//!
//! Every child installs the filter, and the kernel then compiles it and evaluates it for every system call number. A list of comparisons
//! would be slow, so the filter is a binary search: about a dozen comparisons for each number.

mod calls;

use libc::sock_filter as Instruction;

use self::calls::Action;
use super::identity::INSIDE;
use super::network::Network;

/// The filter as a BPF program.
pub fn program(network: Network) -> Vec<Instruction> {
    let mut program = vec![
        load(ARCHITECTURE_OFFSET),
        jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0),
        // System calls of another architecture have other numbers.
        give(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER_OFFSET),
    ];
    program.extend(search(&segments(), network));
    program
}

/// Splits all system call numbers into segments with the same action: the first number of each, and its action.
fn segments() -> Vec<(u32, Action)> {
    const UNKNOWN: Action = Action::Fail(libc::ENOSYS);
    let listed = [
        (calls::ALLOWED, Action::Allow),
        (calls::ALLOWED_ON_THIS_ARCHITECTURE, Action::Allow),
        (calls::NOT_PERMITTED, Action::Fail(libc::EPERM)),
        (calls::NOT_PERMITTED_ON_THIS_ARCHITECTURE, Action::Fail(libc::EPERM)),
    ];
    let listed = listed.iter().flat_map(|(numbers, action)| numbers.iter().map(|number| (*number, *action)));
    let actions: std::collections::BTreeMap<u32, Action> =
        listed.chain(calls::DECIDED.iter().copied()).map(|(number, action)| (number as u32, action)).collect();
    let mut segments = vec![(0, UNKNOWN)];
    for (number, action) in actions {
        for (start, action) in [(number, action), (number + 1, UNKNOWN)] {
            // The next call follows without a gap: replace the UNKNOWN segment that was put there.
            if segments.last().is_some_and(|(last, _)| *last == start) {
                segments.pop();
            }
            if segments.last().is_none_or(|(_, last)| *last != action) {
                segments.push((start, action));
            }
        }
    }
    segments
}

/// A binary search for the number's segment.
fn search(segments: &[(u32, Action)], network: Network) -> Vec<Instruction> {
    if let [(_, action)] = segments {
        return decide(*action, network);
    }
    let (lower, upper) = segments.split_at(segments.len() / 2);
    let (left, right) = (search(lower, network), search(upper, network));
    // A conditional jump reaches 255 instructions far, an unconditional one any number.
    let far = Instruction { code: (libc::BPF_JMP | libc::BPF_JA) as u16, jt: 0, jf: 0, k: left.len() as u32 };
    let first = upper.first().map_or(0, |(start, _)| *start);
    [vec![jump(libc::BPF_JGE, first, 0, 1), far], left, right].concat()
}

fn decide(action: Action, network: Network) -> Vec<Instruction> {
    let allow = || vec![give(libc::SECCOMP_RET_ALLOW)];
    match action {
        Action::Allow => allow(),
        Action::Fail(error) => fail(error),
        Action::Clone => {
            let refused = jump(libc::BPF_JSET, calls::REFUSED_CLONES, 1, 0);
            [vec![load(argument(0)), refused], allow(), fail(libc::EPERM)].concat()
        }
        Action::Sockets => sockets(),
        Action::SocketOptions => {
            let refused = one_of(2, calls::REFUSED_SOCKET_OPTIONS, fail(libc::ENOPROTOOPT), allow());
            // Error 0: the call reports success, and the size stays as it is.
            let options = one_of(2, calls::BUFFER_SIZES, fail(0), refused);
            let others = if network == Network::None { memberships() } else { allow() };
            one_of(1, &[libc::SOL_SOCKET], options, others)
        }
        Action::Ioctl => one_of(1, calls::REFUSED_IOCTLS, fail(libc::EPERM), allow()),
        Action::Fcntl => {
            let larger = jump(libc::BPF_JGT, calls::LARGEST_PIPE, 1, 0);
            let pipe = [vec![load(argument(2)), larger], allow(), fail(libc::EPERM)].concat();
            let others = one_of(1, &[libc::F_SETPIPE_SZ], pipe, allow());
            one_of(1, &[libc::F_SETLEASE, libc::F_NOTIFY], fail(libc::EINVAL), others)
        }
        Action::Prctl => one_of(0, calls::PRCTL_OPERATIONS, allow(), fail(libc::EINVAL)),
        Action::OwnIds { first, count } => (first..first + count)
            .fold(allow(), |then, number| one_of(number, &[INSIDE as i32, NO_ID], then, fail(libc::EPERM))),
    }
}

fn sockets() -> Vec<Instruction> {
    let allow = || vec![give(libc::SECCOMP_RET_ALLOW)];
    let refused = one_of(2, calls::RAW_PROTOCOLS, fail(libc::EPERM), fail(libc::EPROTONOSUPPORT));
    let internet = one_of(2, calls::INTERNET_PROTOCOLS, allow(), refused);
    let netlink = one_of(2, &[libc::NETLINK_ROUTE], allow(), fail(libc::EPROTONOSUPPORT));
    let others = one_of(0, &[libc::AF_PACKET], fail(libc::EPERM), fail(libc::EAFNOSUPPORT));
    let others = one_of(0, &[libc::AF_NETLINK], netlink, others);
    let others = one_of(0, &[libc::AF_INET, libc::AF_INET6], internet, others);
    one_of(0, &[libc::AF_UNIX], allow(), others)
}

/// Joining a multicast group fails as where no interface supports multicast. Otherwise the kernel would send reports some time later, when another
/// program may have the network.
fn memberships() -> Vec<Instruction> {
    let refused = |options| one_of(2, options, fail(libc::ENODEV), vec![give(libc::SECCOMP_RET_ALLOW)]);
    let others = one_of(1, &[libc::IPPROTO_IPV6], refused(calls::MEMBERSHIPS_6), vec![give(libc::SECCOMP_RET_ALLOW)]);
    one_of(1, &[libc::IPPROTO_IP], refused(calls::MEMBERSHIPS), others)
}

/// `then` if the argument is one of `values`, else `otherwise`.
fn one_of(number: u32, values: &[i32], then: Vec<Instruction>, otherwise: Vec<Instruction>) -> Vec<Instruction> {
    let mut checks = vec![load(argument(number))];
    for (place, value) in values.iter().enumerate() {
        let to_then = values.len() - 1 - place + otherwise.len();
        checks.push(jump(libc::BPF_JEQ, *value as u32, to_then as u8, 0));
    }
    [checks, otherwise, then].concat()
}

/// The argument -1 means: leave this id as it is.
const NO_ID: i32 = -1;

/// Offsets in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;

/// The offset of an argument's lower half. The kernel reads only 32 bits of the arguments that are checked here, so a check of all 64
/// could be evaded with any upper half.
const fn argument(number: u32) -> u32 {
    16 + 8 * number + if cfg!(target_endian = "big") { 4 } else { 0 }
}

fn load(offset: u32) -> Instruction {
    Instruction { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn jump(kind: u32, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code: (libc::BPF_JMP | kind | libc::BPF_K) as u16, jt: if_true, jf: if_false, k: value }
}

fn give(result: u32) -> Instruction {
    Instruction { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: result }
}

fn fail(error: i32) -> Vec<Instruction> {
    vec![give(libc::SECCOMP_RET_ERRNO | error as u32)]
}

/// AUDIT_ARCH_* of this architecture (linux/audit.h).
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xC000_00F3;

#[cfg(test)]
mod tests;
