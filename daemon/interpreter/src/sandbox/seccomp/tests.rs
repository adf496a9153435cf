use super::calls::{
    ALLOWED, ALLOWED_ON_THIS_ARCHITECTURE, DECIDED, NOT_PERMITTED, NOT_PERMITTED_ON_THIS_ARCHITECTURE, REFUSED_CLONES,
};
use super::{ARCHITECTURE, program};
use crate::sandbox::Network;

/// Evaluates the filter for a call, as the kernel would.
fn result(architecture: u32, number: u32, arguments: [u64; 3]) -> u32 {
    result_of(&program(Network::None), architecture, number, arguments)
}

fn result_of(program: &[libc::sock_filter], architecture: u32, number: u32, arguments: [u64; 3]) -> u32 {
    let data = |offset: u32| match offset {
        0 => number,
        4 => architecture,
        // The lower halves of the arguments. Those after the third are zero.
        16..64 => arguments.get((offset as usize - 16) / 8).map_or(0, |argument| *argument as u32),
        _ => panic!("offset {offset}"),
    };
    let (mut place, mut value) = (0, 0);
    loop {
        let instruction = program[place];
        place += 1;
        let holds = match u32::from(instruction.code) {
            code if code == libc::BPF_RET => return instruction.k,
            code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                value = data(instruction.k);
                continue;
            }
            code if code == libc::BPF_JMP | libc::BPF_JA => {
                place += instruction.k as usize;
                continue;
            }
            code if code == libc::BPF_JMP | libc::BPF_JEQ => value == instruction.k,
            code if code == libc::BPF_JMP | libc::BPF_JGE => value >= instruction.k,
            code if code == libc::BPF_JMP | libc::BPF_JGT => value > instruction.k,
            code if code == libc::BPF_JMP | libc::BPF_JSET => value & instruction.k != 0,
            code => panic!("code {code}"),
        };
        place += usize::from(if holds { instruction.jt } else { instruction.jf });
    }
}

/// `None` if the call is allowed, else the errno. 0 means that the call reports success.
fn error(number: i64, arguments: [u64; 3]) -> Option<i32> {
    match result(ARCHITECTURE, number as u32, arguments) {
        libc::SECCOMP_RET_ALLOW => None,
        refused => {
            assert_eq!(refused & libc::SECCOMP_RET_ACTION_FULL, libc::SECCOMP_RET_ERRNO);
            Some((refused & libc::SECCOMP_RET_DATA) as i32)
        }
    }
}

#[test]
fn exactly_the_listed_calls_are_allowed() {
    // 0x4000_0000 marks the calls of another ABI on x86-64.
    for number in (0..1024).chain(0x4000_0000..0x4000_0400).chain([i64::from(u32::MAX)]) {
        let expected = if ALLOWED.contains(&number) || ALLOWED_ON_THIS_ARCHITECTURE.contains(&number) {
            None
        } else if NOT_PERMITTED.contains(&number) || NOT_PERMITTED_ON_THIS_ARCHITECTURE.contains(&number) {
            Some(libc::EPERM)
        } else {
            Some(libc::ENOSYS)
        };
        if !DECIDED.iter().any(|(decided, _)| *decided == number) {
            assert_eq!(error(number, [0; 3]), expected, "{number}");
        }
    }
}

#[test]
fn each_call_is_in_one_list() {
    let decided: Vec<i64> = DECIDED.iter().map(|(number, _)| *number).collect();
    let lists =
        [ALLOWED, ALLOWED_ON_THIS_ARCHITECTURE, NOT_PERMITTED, NOT_PERMITTED_ON_THIS_ARCHITECTURE, decided.as_slice()];
    let mut seen = std::collections::BTreeSet::new();
    for number in lists.into_iter().flatten() {
        assert!(seen.insert(number), "{number} is listed twice");
    }
}

#[test]
fn clones_make_neither_namespaces_nor_siblings() {
    assert_eq!(error(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0]), None);
    for bit in (0..32).map(|bit| 1 << bit) {
        let refused = bit & u64::from(REFUSED_CLONES) != 0;
        assert_eq!(error(libc::SYS_clone, [bit, 0, 0]), refused.then_some(libc::EPERM), "{bit:x}");
    }
}

#[test]
fn sockets_are_unix_tcp_udp_and_questions_about_the_network() {
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        for family in 0..50 {
            let expected = match family as i32 {
                libc::AF_UNIX | libc::AF_INET | libc::AF_INET6 | libc::AF_NETLINK => None,
                libc::AF_PACKET => Some(libc::EPERM),
                _ => Some(libc::EAFNOSUPPORT),
            };
            assert_eq!(error(call, [family, 3, 0]), expected, "{family}");
            // The kernel does not read the upper half.
            assert_eq!(error(call, [family | 0x1_0000_0000, 3, 0]), expected, "{family}");
        }
    }
    for protocol in 0..300 {
        let expected = match protocol as i32 {
            0 | libc::IPPROTO_TCP | libc::IPPROTO_UDP => None,
            libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 | libc::IPPROTO_RAW => Some(libc::EPERM),
            _ => Some(libc::EPROTONOSUPPORT),
        };
        assert_eq!(error(libc::SYS_socket, [2, 2, protocol]), expected, "{protocol}");
        let netlink = (protocol != 0).then_some(libc::EPROTONOSUPPORT);
        assert_eq!(error(libc::SYS_socket, [16, 3, protocol]), netlink, "{protocol}");
    }
}

#[test]
fn buffers_of_sockets_and_pipes_do_not_grow() {
    let option = |level: i32, name: i32| error(libc::SYS_setsockopt, [3, level as u64, name as u64]);
    for name in 0..100 {
        let expected = match name {
            libc::SO_SNDBUF | libc::SO_RCVBUF | libc::SO_SNDBUFFORCE | libc::SO_RCVBUFFORCE => Some(0),
            libc::SO_ATTACH_FILTER | libc::SO_ATTACH_BPF | 51 | 52 | 73 => Some(libc::ENOPROTOOPT),
            _ => None,
        };
        assert_eq!(option(libc::SOL_SOCKET, name), expected, "{name}");
        assert_eq!(option(libc::IPPROTO_TCP, name), None, "{name}");
    }
    let size = |size: u64| error(libc::SYS_fcntl, [3, libc::F_SETPIPE_SZ as u64, size]);
    assert_eq!([4096, 65536, 65537, 1 << 20].map(size), [None, None, Some(libc::EPERM), Some(libc::EPERM)]);
}

#[test]
fn nothing_joins_a_multicast_group_but_in_the_hosts_network() {
    let number = libc::SYS_setsockopt as u32;
    for (level, joins) in
        [(libc::IPPROTO_IP, &[35, 39, 42, 46][..]), (libc::IPPROTO_IPV6, &[20, 42, 46]), (libc::IPPROTO_TCP, &[])]
    {
        for option in 0..100 {
            let arguments = [3, level as u64, option];
            let expected = joins.contains(&option).then_some(libc::ENODEV);
            assert_eq!(error(i64::from(number), arguments), expected, "{level} {option}");
            let with_host = result_of(&program(Network::Host), ARCHITECTURE, number, arguments);
            assert_eq!(with_host, libc::SECCOMP_RET_ALLOW, "{level} {option}");
        }
    }
}

#[test]
fn what_holds_up_others_is_refused() {
    assert_eq!(error(libc::SYS_fcntl, [0, libc::F_SETFL as u64, 1 << 20]), None);
    for command in [libc::F_SETLEASE, libc::F_NOTIFY] {
        assert_eq!(error(libc::SYS_fcntl, [0, command as u64, 0]), Some(libc::EINVAL));
    }
    assert_eq!(error(libc::SYS_ioctl, [0, u64::from(libc::TIOCGWINSZ as u32), 0]), None);
    for request in [libc::TIOCSTI, libc::TIOCLINUX].map(|request| u64::from(request as u32)) {
        assert_eq!([request, request | 1 << 32].map(|it| error(libc::SYS_ioctl, [0, it, 0])), [Some(libc::EPERM); 2]);
    }
}

#[test]
fn operations_of_prctl_are_listed() {
    let allowed: Vec<u64> = (0..200).filter(|operation| error(libc::SYS_prctl, [*operation, 0, 0]).is_none()).collect();
    assert!(allowed.contains(&(libc::PR_SET_NAME as u64)) && allowed.len() < 60, "{allowed:?}");
    // PR_SET_SECCOMP, PR_SET_MM, PR_SCHED_CORE, PR_FUTEX_HASH, PR_SET_PTRACER, and one that does not exist yet.
    for operation in [22, 35, 62, 78, 0x5961_6d61, 199] {
        assert_eq!(error(libc::SYS_prctl, [operation, 0, 0]), Some(libc::EINVAL), "{operation}");
    }
}

#[test]
fn ids_of_others_are_not_permitted() {
    let (own, none, root) = (1000, u64::from(u32::MAX), 0);
    for (call, arguments, permitted) in [
        (libc::SYS_fchown, [3, own, own], true),
        (libc::SYS_fchown, [3, none, none], true),
        (libc::SYS_fchown, [3, u64::MAX, own], true),
        (libc::SYS_fchown, [3, root, none], false),
        (libc::SYS_fchown, [3, none, root], false),
        (libc::SYS_fchown, [0, own, 1001], false),
        (libc::SYS_setuid, [own, 0, 0], true),
        (libc::SYS_setuid, [root, 0, 0], false),
        (libc::SYS_setgid, [65534, 0, 0], false),
        (libc::SYS_setresuid, [own, own, own], true),
        (libc::SYS_setresuid, [own, own, root], false),
        (libc::SYS_setresgid, [root, own, own], false),
        (libc::SYS_setgroups, [0, 0, 0], false),
    ] {
        let expected = (!permitted).then_some(libc::EPERM);
        assert_eq!(error(call, arguments), expected, "{call} {arguments:?}");
    }
}

#[test]
fn another_architectures_calls_end_the_program() {
    assert_eq!(result(0x4000_0003, 1, [0; 3]), libc::SECCOMP_RET_KILL_PROCESS);
}

#[test]
fn the_filter_is_short() {
    let length = program(Network::None).len();
    assert!(length < 700, "{length}");
}
