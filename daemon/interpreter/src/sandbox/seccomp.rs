//! Seccomp: the system calls that ordinary programs use, and no others. An unlisted call fails with ENOSYS, as on a kernel that
//! does not have it, so that libraries fall back by themselves (glibc from clone3 to clone, for one).
//!
//! Every child installs the filter, and the kernel then translates it and tries it on every call there is. So it is no list but a
//! search: a dozen comparisons from each number to what happens with it.

use libc::sock_filter as Instruction;

/// What happens with a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Refuse,
    Allow,
    /// Not into new namespaces, and no siblings.
    Clone,
    /// These families only.
    Sockets(&'static [i32]),
    /// No characters may be pushed into a terminal's input. There is no terminal here; this holds if one ever leaks in.
    Ioctl,
    /// No leases and notifications: they would hold up others who use a file that is shown to programs.
    Fcntl,
}

/// The filter, in the kernel's form.
pub fn program() -> Vec<Instruction> {
    let mut program = vec![
        load(ARCHITECTURE_OFFSET),
        jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0),
        // Another architecture's calls have other numbers.
        give(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER_OFFSET),
    ];
    program.extend(search(&segments()));
    program
}

/// The first number of each run of calls with the same action, from 0 to the last there can be.
fn segments() -> Vec<(u32, Action)> {
    let mut actions: std::collections::BTreeMap<u32, Action> =
        ALLOWED.iter().chain(ALLOWED_ON_THIS_ARCHITECTURE).map(|number| (*number as u32, Action::Allow)).collect();
    actions.insert(libc::SYS_clone as u32, Action::Clone);
    actions.insert(libc::SYS_socket as u32, Action::Sockets(&SOCKET_FAMILIES));
    actions.insert(libc::SYS_socketpair as u32, Action::Sockets(&[libc::AF_UNIX]));
    actions.insert(libc::SYS_ioctl as u32, Action::Ioctl);
    actions.insert(libc::SYS_fcntl as u32, Action::Fcntl);
    let mut segments = vec![(0, Action::Refuse)];
    for (number, action) in actions {
        for (start, action) in [(number, action), (number + 1, Action::Refuse)] {
            // What follows a call without a gap takes the place of the refusal that was put there.
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

/// Finds the number's segment by halves.
fn search(segments: &[(u32, Action)]) -> Vec<Instruction> {
    if let [(_, action)] = segments {
        return decide(*action);
    }
    let (lower, upper) = segments.split_at(segments.len() / 2);
    let (left, right) = (search(lower), search(upper));
    // A conditional jump reaches 255 instructions far, an unconditional one any number.
    let far = Instruction { code: (libc::BPF_JMP | libc::BPF_JA) as u16, jt: 0, jf: 0, k: left.len() as u32 };
    let first = upper.first().map_or(0, |(start, _)| *start);
    [vec![jump(libc::BPF_JGE, first, 0, 1), far], left, right].concat()
}

fn decide(action: Action) -> Vec<Instruction> {
    let (allow, refuse) = (give(libc::SECCOMP_RET_ALLOW), give(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32));
    match action {
        Action::Allow => vec![allow],
        Action::Refuse => vec![refuse],
        Action::Clone => vec![load(argument(0)), jump(libc::BPF_JSET, REFUSED_CLONES, 1, 0), allow, refuse],
        Action::Sockets(families) => {
            let mut checks = vec![load(argument(0))];
            // Whichever it is, on to the protocol; past the end of the families, and the refusal.
            let count = families.len() as u8;
            for (place, family) in (0..count).zip(families) {
                checks.push(jump(libc::BPF_JEQ, *family as u32, count - place, 0));
            }
            checks.extend([refuse, load(argument(2))]);
            let count = PROTOCOLS.len() as u8;
            for (place, protocol) in (0..count).zip(PROTOCOLS) {
                checks.push(jump(libc::BPF_JEQ, protocol as u32, count - place, 0));
            }
            checks.extend([refuse, allow]);
            checks
        }
        Action::Ioctl => refuse_either(libc::TIOCSTI as u32, libc::TIOCLINUX as u32),
        Action::Fcntl => refuse_either(libc::F_SETLEASE as u32, libc::F_NOTIFY as u32),
    }
}

/// Allows a call unless its second argument is one of two.
fn refuse_either(first: u32, second: u32) -> Vec<Instruction> {
    vec![
        load(argument(1)),
        jump(libc::BPF_JEQ, first, 2, 0),
        jump(libc::BPF_JEQ, second, 1, 0),
        give(libc::SECCOMP_RET_ALLOW),
        give(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

/// Offsets in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;

/// Where the lower half of an argument is. The kernel reads those that are looked at here as 32 bits wide; comparing more would let
/// a stray upper half pass.
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

/// What the kernel calls this architecture (linux/audit.h).
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xC000_00F3;

/// Namespaces, and children that are the zygote's own and not the program's.
const REFUSED_CLONES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PARENT) as u32;

/// The default, TCP and UDP: asking for another would load the module that has it.
const PROTOCOLS: [i32; 3] = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP];

const SOCKET_FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// Absent on purpose, beside all that needs privileges: clone3 (its flags cannot be seen), unshare, setns, the mount calls,
/// ptrace, process_vm_*, pidfd_getfd, io_uring_*, bpf, userfaultfd, perf_event_open, the keyring calls, memfd_secret,
/// open_by_handle_at, personality. Absent because what they take is not bounded by any limit of the slot, but by one of the whole
/// system or of the user: aio contexts, inotify, System V shared memory, semaphores and queues, memfd.
#[rustfmt::skip] // One name a line would be four pages.
const ALLOWED: &[i64] = &[
    // Files
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_openat, libc::SYS_openat2,
    libc::SYS_close, libc::SYS_close_range, libc::SYS_lseek, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx,
    libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_getdents64,
    libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_unlinkat,
    libc::SYS_linkat, libc::SYS_symlinkat, libc::SYS_readlinkat, libc::SYS_renameat2, libc::SYS_fchmod,
    libc::SYS_fchmodat, SYS_FCHMODAT2, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_utimensat, libc::SYS_truncate,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_readahead, libc::SYS_sync,
    libc::SYS_syncfs, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range, libc::SYS_flock,
    libc::SYS_umask, libc::SYS_dup, libc::SYS_dup3, libc::SYS_fcntl, libc::SYS_pipe2, libc::SYS_splice, libc::SYS_tee,
    libc::SYS_vmsplice, libc::SYS_sendfile, libc::SYS_copy_file_range,     libc::SYS_getxattr, libc::SYS_lgetxattr,
    libc::SYS_fgetxattr, libc::SYS_listxattr, libc::SYS_llistxattr, libc::SYS_flistxattr, libc::SYS_setxattr,
    libc::SYS_lsetxattr, libc::SYS_fsetxattr, libc::SYS_removexattr, libc::SYS_lremovexattr, libc::SYS_fremovexattr,
        // Waiting
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_signalfd4, libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,         // Sockets; which kinds is decided above
    libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_connect, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg,
    libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_setsockopt, libc::SYS_getsockopt, libc::SYS_shutdown,
    // Memory
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise,
    libc::SYS_mincore, libc::SYS_msync, libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_mlockall,
    libc::SYS_munlockall, libc::SYS_membarrier, libc::SYS_mbind, libc::SYS_get_mempolicy, libc::SYS_set_mempolicy,
    libc::SYS_pkey_alloc, libc::SYS_pkey_free, libc::SYS_pkey_mprotect,             // Processes and threads
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4, libc::SYS_waitid,
    libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal,
    libc::SYS_set_tid_address, libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_futex,
    libc::SYS_futex_waitv, libc::SYS_rseq, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getpgid,
    libc::SYS_setpgid, libc::SYS_getsid, libc::SYS_setsid, libc::SYS_prctl, libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self,
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid,
    libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid,
    libc::SYS_setregid, libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setgroups, libc::SYS_setfsuid,
    libc::SYS_setfsgid, libc::SYS_capget, libc::SYS_capset, libc::SYS_getrlimit, libc::SYS_setrlimit,
    libc::SYS_prlimit64, libc::SYS_getrusage, libc::SYS_getpriority, libc::SYS_setpriority, libc::SYS_ioprio_get,
    libc::SYS_ioprio_set, libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam, libc::SYS_sched_setparam, libc::SYS_sched_getscheduler, libc::SYS_sched_setscheduler,
    libc::SYS_sched_getattr, libc::SYS_sched_setattr, libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min, libc::SYS_sched_rr_get_interval, libc::SYS_getcpu,
    // Signals
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigpending, libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo, libc::SYS_rt_sigreturn, libc::SYS_rt_sigsuspend, libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack, libc::SYS_restart_syscall,
    // Time
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_getitimer, libc::SYS_setitimer, libc::SYS_timer_create, libc::SYS_timer_settime,
    libc::SYS_timer_gettime, libc::SYS_timer_getoverrun, libc::SYS_timer_delete, libc::SYS_times,
    // The system
    libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrandom,
];

/// Not yet in the libc crate for every architecture; the number is the same on all.
const SYS_FCHMODAT2: i64 = 452;

/// Older names of calls above, which C libraries on x86-64 still use.
#[rustfmt::skip]
#[cfg(target_arch = "x86_64")]
const ALLOWED_ON_THIS_ARCHITECTURE: &[i64] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_getdents,
    libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_mknod, libc::SYS_unlink, libc::SYS_link, libc::SYS_symlink,
    libc::SYS_readlink, libc::SYS_rename, libc::SYS_renameat, libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown,
    libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat, libc::SYS_dup2, libc::SYS_pipe, libc::SYS_poll,
    libc::SYS_select, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_signalfd,
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_getpgrp, libc::SYS_pause, libc::SYS_alarm,
    libc::SYS_time, libc::SYS_arch_prctl,
];

#[cfg(target_arch = "aarch64")]
const ALLOWED_ON_THIS_ARCHITECTURE: &[i64] = &[libc::SYS_renameat];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ALLOWED_ON_THIS_ARCHITECTURE: &[i64] = &[];

#[cfg(test)]
mod tests {
    use super::{ALLOWED, ALLOWED_ON_THIS_ARCHITECTURE, ARCHITECTURE, REFUSED_CLONES, program};

    /// What the kernel would do: runs the filter on a call.
    fn result(architecture: u32, number: u32, arguments: [u64; 2]) -> u32 {
        let data = |offset: u32| match offset {
            0 => number,
            4 => architecture,
            16 => arguments[0] as u32,
            24 => arguments[1] as u32,
            // Sockets' third argument is given in the second's upper half.
            32 => (arguments[1] >> 32) as u32,
            _ => panic!("offset {offset}"),
        };
        let program = program();
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
                code if code == libc::BPF_JMP | libc::BPF_JSET => value & instruction.k != 0,
                code => panic!("code {code}"),
            };
            place += usize::from(if holds { instruction.jt } else { instruction.jf });
        }
    }

    fn allows(number: i64, arguments: [u64; 2]) -> bool {
        match result(ARCHITECTURE, number as u32, arguments) {
            libc::SECCOMP_RET_ALLOW => true,
            refused => {
                assert_eq!(refused, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
                false
            }
        }
    }

    #[test]
    fn exactly_the_listed_calls_are_allowed() {
        let decided = [libc::SYS_clone, libc::SYS_socket, libc::SYS_socketpair, libc::SYS_ioctl, libc::SYS_fcntl];
        // 0x4000_0000 marks the calls of another ABI on x86-64.
        for number in (0..1024).chain(0x4000_0000..0x4000_0400).chain([i64::from(u32::MAX)]) {
            let listed = ALLOWED.contains(&number) || ALLOWED_ON_THIS_ARCHITECTURE.contains(&number);
            if !decided.contains(&number) {
                assert_eq!(allows(number, [0, 0]), listed, "{number}");
            }
        }
    }

    #[test]
    fn arguments_decide_where_a_call_alone_does_not() {
        assert!(allows(libc::SYS_clone, [libc::SIGCHLD as u64, 0]));
        for bit in (0..32).map(|bit| 1 << bit) {
            assert_eq!(allows(libc::SYS_clone, [bit, 0]), bit & u64::from(REFUSED_CLONES) == 0, "{bit:x}");
        }
        for family in 0..50 {
            assert_eq!(allows(libc::SYS_socket, [family, 0]), [1, 2, 10].contains(&family), "{family}");
            assert_eq!(allows(libc::SYS_socketpair, [family, 0]), family == 1, "{family}");
        }
        for protocol in 0..300 {
            assert_eq!(allows(libc::SYS_socket, [2, protocol << 32]), [0, 6, 17].contains(&protocol), "{protocol}");
        }
        assert!(allows(libc::SYS_fcntl, [0, libc::F_SETFL as u64]));
        assert!(!allows(libc::SYS_fcntl, [0, libc::F_SETLEASE as u64]) && !allows(libc::SYS_fcntl, [0, 1026]));
        // An upper half that the kernel does not read makes no difference.
        assert!(!allows(libc::SYS_socket, [0x1_0000_0010, 0]));
        assert!(allows(libc::SYS_ioctl, [0, u64::from(libc::TIOCGWINSZ as u32)]));
        for request in [libc::TIOCSTI, libc::TIOCLINUX] {
            assert!(
                !allows(libc::SYS_ioctl, [0, u64::from(request as u32)])
                    && !allows(libc::SYS_ioctl, [0, u64::from(request as u32) | 1 << 32])
            );
        }
    }

    #[test]
    fn another_architectures_calls_end_the_program() {
        assert_eq!(result(0x4000_0003, 1, [0, 0]), libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn the_filter_is_short() {
        assert!(program().len() < 400, "{}", program().len());
    }
}
