//! What the filter does with each system call. A call that is in no list fails with ENOSYS, as on a kernel that does not have it.
//!
//! Some calls are left out on purpose, because C libraries and programs fall back to something else. A filter cannot read the flags of
//! clone3, which are in memory. io_uring passes calls by the filter. Others are bounded only for the user or the whole system, by no limit
//! of the slot: aio, inotify, System V memory, semaphores and queues, memfd, vmsplice (one byte keeps a whole huge page), Landlock rules
//! and further seccomp filters.

/// What the filter does with a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Allow,
    /// Fails with this error.
    Fail(i32),
    /// Allowed without the flags in [`REFUSED_CLONES`].
    Clone,
    /// Allowed for Unix sockets, TCP, UDP, and netlink sockets that query the slot's own network.
    Sockets,
    /// Allowed, but reports success without effect for the sizes of buffers.
    SocketOptions,
    /// Allowed without the requests in [`REFUSED_IOCTLS`].
    Ioctl,
    /// Allowed without leases and directory notifications, which would delay others who use a file that programs are shown, and without
    /// larger pipes.
    Fcntl,
    /// Allowed for [`PRCTL_OPERATIONS`].
    Prctl,
    /// Allowed if `count` arguments from the `first` on are the program's own id, or -1. Other ids do not exist in the slot. The kernel
    /// would answer EINVAL for them, and programs expect EPERM.
    OwnIds {
        first: u32,
        count: u32,
    },
}

#[rustfmt::skip] // One name a line would be four pages.
pub const ALLOWED: &[i64] = &[
    // Files
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_openat, libc::SYS_openat2,
    libc::SYS_close, libc::SYS_close_range, libc::SYS_lseek, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx,
    libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_getdents64,
    libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_unlinkat,
    libc::SYS_linkat, libc::SYS_symlinkat, libc::SYS_readlinkat, libc::SYS_renameat2, libc::SYS_fchmod,
    libc::SYS_fchmodat, SYS_FCHMODAT2, libc::SYS_utimensat, libc::SYS_truncate, libc::SYS_ftruncate, libc::SYS_fallocate,
    libc::SYS_fadvise64, libc::SYS_readahead, libc::SYS_sync, libc::SYS_syncfs, libc::SYS_fsync, libc::SYS_fdatasync,
    libc::SYS_sync_file_range, libc::SYS_flock, libc::SYS_umask, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2,
    libc::SYS_splice, libc::SYS_tee, libc::SYS_sendfile, libc::SYS_copy_file_range, libc::SYS_getxattr,
    libc::SYS_lgetxattr, libc::SYS_fgetxattr, libc::SYS_listxattr, libc::SYS_llistxattr, libc::SYS_flistxattr,
    libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, libc::SYS_removexattr, libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    // Waiting
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_signalfd4, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    // Sockets
    libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_connect, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg,
    libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_getsockopt, libc::SYS_shutdown,
    // Memory
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise,
    libc::SYS_mincore, libc::SYS_msync, libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_mlockall,
    libc::SYS_munlockall, libc::SYS_membarrier, libc::SYS_mbind, libc::SYS_get_mempolicy, libc::SYS_set_mempolicy,
    libc::SYS_pkey_alloc, libc::SYS_pkey_free, libc::SYS_pkey_mprotect,
    // Processes and threads
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4, libc::SYS_waitid,
    libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal,
    libc::SYS_set_tid_address, libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_futex,
    libc::SYS_futex_waitv, libc::SYS_rseq, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getpgid,
    libc::SYS_setpgid, libc::SYS_getsid, libc::SYS_setsid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_getresuid, libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_setfsuid,
    libc::SYS_setfsgid, libc::SYS_capget, libc::SYS_capset, libc::SYS_getrlimit, libc::SYS_setrlimit,
    libc::SYS_prlimit64, libc::SYS_getrusage, libc::SYS_getpriority, libc::SYS_setpriority, libc::SYS_ioprio_get,
    libc::SYS_ioprio_set, libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam, libc::SYS_sched_setparam, libc::SYS_sched_getscheduler, libc::SYS_sched_setscheduler,
    libc::SYS_sched_getattr, libc::SYS_sched_setattr, libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval, libc::SYS_getcpu,
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

/// Not yet in the libc crate for every architecture. The number is the same on all.
const SYS_FCHMODAT2: i64 = 452;

/// Older variants of calls above, which C libraries on x86-64 still use.
#[rustfmt::skip]
#[cfg(target_arch = "x86_64")]
pub const ALLOWED_ON_THIS_ARCHITECTURE: &[i64] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_getdents,
    libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_mknod, libc::SYS_unlink, libc::SYS_link, libc::SYS_symlink,
    libc::SYS_readlink, libc::SYS_rename, libc::SYS_renameat, libc::SYS_chmod, libc::SYS_utime, libc::SYS_utimes,
    libc::SYS_futimesat, libc::SYS_dup2, libc::SYS_pipe, libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_create,
    libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_signalfd, libc::SYS_fork, libc::SYS_vfork, libc::SYS_getpgrp,
    libc::SYS_pause, libc::SYS_alarm, libc::SYS_time, libc::SYS_arch_prctl,
];

#[cfg(target_arch = "aarch64")]
pub const ALLOWED_ON_THIS_ARCHITECTURE: &[i64] = &[libc::SYS_renameat];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub const ALLOWED_ON_THIS_ARCHITECTURE: &[i64] = &[];

/// Fail with EPERM, as for any unprivileged user. Programs expect that and go on.
#[rustfmt::skip]
pub const NOT_PERMITTED: &[i64] = &[
    // Mounts and the system's files
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_mount_setattr,
    libc::SYS_move_mount, libc::SYS_open_tree, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick,
    libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_quotactl, libc::SYS_quotactl_fd, libc::SYS_acct,
    libc::SYS_fanotify_init, libc::SYS_fanotify_mark, libc::SYS_open_by_handle_at,
    // Namespaces and other processes
    libc::SYS_unshare, libc::SYS_setns, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_kcmp, libc::SYS_pidfd_getfd, libc::SYS_process_madvise, libc::SYS_move_pages, libc::SYS_migrate_pages,
    libc::SYS_personality,
    // The machine
    libc::SYS_clock_settime, libc::SYS_clock_adjtime, libc::SYS_adjtimex, libc::SYS_settimeofday, libc::SYS_sethostname,
    libc::SYS_setdomainname, libc::SYS_syslog, libc::SYS_reboot, libc::SYS_kexec_load, libc::SYS_init_module,
    libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_vhangup,
    // The kernel's own tools, and the keys of the user
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_add_key, libc::SYS_request_key,
    libc::SYS_keyctl,
];

#[cfg(target_arch = "x86_64")]
pub const NOT_PERMITTED_ON_THIS_ARCHITECTURE: &[i64] = &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_kexec_file_load];

#[cfg(not(target_arch = "x86_64"))]
pub const NOT_PERMITTED_ON_THIS_ARCHITECTURE: &[i64] = &[];

/// Calls whose arguments decide.
pub const DECIDED: &[(i64, Action)] = &[
    (libc::SYS_clone, Action::Clone),
    (libc::SYS_socket, Action::Sockets),
    (libc::SYS_socketpair, Action::Sockets),
    (libc::SYS_setsockopt, Action::SocketOptions),
    (libc::SYS_ioctl, Action::Ioctl),
    (libc::SYS_fcntl, Action::Fcntl),
    (libc::SYS_prctl, Action::Prctl),
    (libc::SYS_fchown, Action::OwnIds { first: 1, count: 2 }),
    (libc::SYS_fchownat, Action::OwnIds { first: 2, count: 2 }),
    (libc::SYS_setuid, Action::OwnIds { first: 0, count: 1 }),
    (libc::SYS_setgid, Action::OwnIds { first: 0, count: 1 }),
    (libc::SYS_setreuid, Action::OwnIds { first: 0, count: 2 }),
    (libc::SYS_setregid, Action::OwnIds { first: 0, count: 2 }),
    (libc::SYS_setresuid, Action::OwnIds { first: 0, count: 3 }),
    (libc::SYS_setresgid, Action::OwnIds { first: 0, count: 3 }),
    // The kernel would check the ids first, and answer EINVAL for one that does not exist in the slot.
    (libc::SYS_setgroups, Action::Fail(libc::EPERM)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chown, Action::OwnIds { first: 1, count: 2 }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lchown, Action::OwnIds { first: 1, count: 2 }),
];

/// Allowed operations of `prctl`. Any other fails with EINVAL, as on a kernel that does not have it. Left out on purpose: PR_FUTEX_HASH
/// (takes gigabytes of kernel memory), PR_SET_SECCOMP, PR_SET_MM, PR_SCHED_CORE, PR_SET_SYSCALL_USER_DISPATCH.
#[rustfmt::skip]
pub const PRCTL_OPERATIONS: &[i32] = &[
    libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_PDEATHSIG, libc::PR_GET_PDEATHSIG, libc::PR_SET_DUMPABLE,
    libc::PR_GET_DUMPABLE, libc::PR_SET_CHILD_SUBREAPER, libc::PR_GET_CHILD_SUBREAPER, libc::PR_GET_TID_ADDRESS,
    libc::PR_SET_TIMERSLACK, libc::PR_GET_TIMERSLACK, libc::PR_SET_TIMING, libc::PR_GET_TIMING,
    libc::PR_SET_THP_DISABLE, libc::PR_GET_THP_DISABLE, PR_SET_VMA, PR_GET_AUXV,
    // Privileges
    libc::PR_SET_NO_NEW_PRIVS, libc::PR_GET_NO_NEW_PRIVS, libc::PR_GET_SECCOMP, libc::PR_CAPBSET_READ,
    libc::PR_CAPBSET_DROP, libc::PR_CAP_AMBIENT, libc::PR_SET_KEEPCAPS, libc::PR_GET_KEEPCAPS,
    libc::PR_SET_SECUREBITS, libc::PR_GET_SECUREBITS, libc::PR_SET_MDWE, libc::PR_GET_MDWE,
    libc::PR_SET_SPECULATION_CTRL, libc::PR_GET_SPECULATION_CTRL,
    // The CPU
    libc::PR_SET_TSC, libc::PR_GET_TSC, libc::PR_SET_UNALIGN, libc::PR_GET_UNALIGN, libc::PR_GET_ENDIAN,
    PR_SVE_SET_VL, PR_SVE_GET_VL, PR_PAC_RESET_KEYS, PR_SET_TAGGED_ADDR_CTRL, PR_GET_TAGGED_ADDR_CTRL,
    PR_PAC_SET_ENABLED_KEYS, PR_PAC_GET_ENABLED_KEYS, PR_SME_SET_VL, PR_SME_GET_VL, PR_RISCV_V_SET_CONTROL,
    PR_RISCV_V_GET_CONTROL, PR_RISCV_SET_ICACHE_FLUSH_CTX, PR_GET_SHADOW_STACK_STATUS, PR_SET_SHADOW_STACK_STATUS,
    PR_LOCK_SHADOW_STACK_STATUS,
];

// From linux/prctl.h. The libc crate does not have them.
const PR_SET_VMA: i32 = 0x5356_4d41;
const PR_GET_AUXV: i32 = 0x4155_5856;
const PR_SVE_SET_VL: i32 = 50;
const PR_SVE_GET_VL: i32 = 51;
const PR_PAC_RESET_KEYS: i32 = 54;
const PR_SET_TAGGED_ADDR_CTRL: i32 = 55;
const PR_GET_TAGGED_ADDR_CTRL: i32 = 56;
const PR_PAC_SET_ENABLED_KEYS: i32 = 60;
const PR_PAC_GET_ENABLED_KEYS: i32 = 61;
const PR_SME_SET_VL: i32 = 63;
const PR_SME_GET_VL: i32 = 64;
const PR_RISCV_V_SET_CONTROL: i32 = 69;
const PR_RISCV_V_GET_CONTROL: i32 = 70;
const PR_RISCV_SET_ICACHE_FLUSH_CTX: i32 = 71;
const PR_GET_SHADOW_STACK_STATUS: i32 = 74;
const PR_SET_SHADOW_STACK_STATUS: i32 = 75;
const PR_LOCK_SHADOW_STACK_STATUS: i32 = 76;

/// Inserting input into a terminal, and changing its line discipline, for which many kernels load rarely reviewed modules.
pub const REFUSED_IOCTLS: &[i32] = &[libc::TIOCSTI as i32, libc::TIOCLINUX as i32, libc::TIOCSETD as i32];

/// New namespaces, and CLONE_PARENT, with which a child would be the zygote's.
pub const REFUSED_CLONES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PARENT) as u32;

/// The default, TCP and UDP. Any other protocol could load a kernel module.
pub const INTERNET_PROTOCOLS: &[i32] = &[0, libc::IPPROTO_TCP, libc::IPPROTO_UDP];

/// Protocols of raw sockets, which need privileges.
pub const RAW_PROTOCOLS: &[i32] = &[libc::IPPROTO_ICMP, libc::IPPROTO_ICMPV6, libc::IPPROTO_RAW];

/// Sizes of a socket's buffers. They stay as they are, because all sockets of the machine share the memory for them.
pub const BUFFER_SIZES: &[i32] = &[libc::SO_SNDBUF, libc::SO_RCVBUF, libc::SO_SNDBUFFORCE, libc::SO_RCVBUFFORCE];

/// Socket filters, whose compiled code counts against a limit of the whole system, and reserved memory.
pub const REFUSED_SOCKET_OPTIONS: &[i32] =
    &[libc::SO_ATTACH_FILTER, libc::SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF, SO_RESERVE_MEM];

// From asm-generic/socket.h.
const SO_ATTACH_REUSEPORT_CBPF: i32 = 51;
const SO_ATTACH_REUSEPORT_EBPF: i32 = 52;
const SO_RESERVE_MEM: i32 = 73;

/// Options of level IPPROTO_IP with which a socket becomes a member of a multicast group.
pub const MEMBERSHIPS: &[i32] =
    &[libc::IP_ADD_MEMBERSHIP, libc::IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP];
/// The same of level IPPROTO_IPV6.
pub const MEMBERSHIPS_6: &[i32] = &[libc::IPV6_ADD_MEMBERSHIP, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP];

// From linux/in.h.
const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_JOIN_SOURCE_GROUP: i32 = 46;

/// The initial size of a pipe, in bytes. The sizes of all pipes count against a limit of the user.
pub const LARGEST_PIPE: u32 = 65536;
