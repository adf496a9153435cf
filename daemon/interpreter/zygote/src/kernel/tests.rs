//! Run from `tests/kernel.rs`: the library itself cannot be linked into a test program.

use super::*;

#[test]
fn constants_are_those_of_the_c_library() {
    same! {
        SIGHUP => libc::SIGHUP, SIGINT => libc::SIGINT, SIGQUIT => libc::SIGQUIT, SIGTERM => libc::SIGTERM,
        SIGCHLD => libc::SIGCHLD, CLONE_NEWPID => libc::CLONE_NEWPID,
        O_RDONLY => libc::O_RDONLY, O_CLOEXEC => libc::O_CLOEXEC,
        SIG_UNBLOCK => libc::SIG_UNBLOCK, SIG_BLOCK => libc::SIG_BLOCK, SFD_CLOEXEC => libc::SFD_CLOEXEC,
        WNOHANG => libc::WNOHANG, POLLIN => libc::POLLIN,
        PR_CAPBSET_DROP => libc::PR_CAPBSET_DROP,
        PR_SET_NO_NEW_PRIVS => libc::PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT => libc::PR_CAP_AMBIENT,
        PR_CAP_AMBIENT_CLEAR_ALL => libc::PR_CAP_AMBIENT_CLEAR_ALL as u64,
        SECCOMP_SET_MODE_FILTER => libc::SECCOMP_SET_MODE_FILTER, SYS_SECCOMP => libc::SYS_seccomp,
        SECCOMP_FILTER_FLAG_NEW_LISTENER => libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        SYS_CLOSE_RANGE => libc::SYS_close_range, SYS_CAPSET => libc::SYS_capset,
        SYS_LANDLOCK_RESTRICT_SELF => libc::SYS_landlock_restrict_self,
        MADV_COLLAPSE => libc::MADV_COLLAPSE, EINTR => libc::EINTR, EBUSY => libc::EBUSY, EINVAL => libc::EINVAL,
    }
}

#[test]
fn a_filter_has_a_listener_unless_another_has_one_and_it_hangs_up_at_the_end() {
    // A filter is its thread's, and of those that it starts.
    let installed = std::thread::spawn(|| {
        // One instruction: allow every call.
        let allow = [6_u16.to_ne_bytes().as_slice(), &[0, 0], &0x7fff_0000_u32.to_ne_bytes()].concat();
        assert!(control(PR_SET_NO_NEW_PRIVS, 1).is_ok());
        [install_filter(&allow), install_filter(&allow)]
    });
    let [Ok(Some(listener)), Ok(None)] = installed.join().unwrap() else {
        panic!("not one with and one without a listener")
    };
    let mut list = libc::pollfd { fd: listener, events: 0, revents: 0 };
    // SAFETY: the list has one entry and outlives the call.
    assert_eq!((unsafe { libc::poll(&raw mut list, 1, 10_000) }, list.revents), (1, libc::POLLHUP));
    close_descriptor(listener);
}

#[test]
fn structures_are_those_of_the_c_library() {
    laid_out_as!(Poll => libc::pollfd { descriptor => fd, events => events, returned => revents });
    laid_out_as!(Limit => libc::rlimit { current => rlim_cur, maximum => rlim_max });
    laid_out_as!(Usage => libc::rusage { user => ru_utime, system => ru_stime });
    assert_eq!((size_of::<SignalSet>(), align_of::<SignalSet>()), (size_of::<libc::sigset_t>(), 8));
    // SAFETY: a zeroed sigset_t is a valid, empty set.
    let mut theirs: libc::sigset_t = unsafe { core::mem::zeroed() };
    for signal in [libc::SIGHUP, libc::SIGCHLD] {
        // SAFETY: a valid set and a signal.
        unsafe { libc::sigaddset(&raw mut theirs, signal) };
    }
    // SAFETY: both have the same size, see above.
    let theirs: SignalSet = unsafe { core::mem::transmute(theirs) };
    assert_eq!(SignalSet::of(&[SIGHUP, SIGCHLD]).0, theirs.0);
}
