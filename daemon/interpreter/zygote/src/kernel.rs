//! The functions of the C library that are needed here, with errors as `Result`. Descriptors are plain numbers, because every fork changes
//! who owns them.

use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_ulong, c_void};
use core::ptr;

#[cfg(test)]
#[path = "kernel/tests.rs"]
mod tests;

/// An errno.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub c_int);

pub type Descriptor = c_int;

pub const EBUSY: c_int = 16;
pub const EINVAL: c_int = 22;
const EINTR: c_int = 4;

const SIGHUP: c_int = 1;
pub const SIGINT: c_int = 2;
const SIGQUIT: c_int = 3;
const SIGTERM: c_int = 15;
pub const SIGCHLD: c_int = 17;
pub const CLONE_NEWPID: c_int = 0x2000_0000;

const O_RDONLY: c_int = 0;
const O_CLOEXEC: c_int = 0o2_000_000;
const SIG_UNBLOCK: c_int = 1;
const SIG_BLOCK: c_int = 0;
const SFD_CLOEXEC: c_int = O_CLOEXEC;
const WNOHANG: c_int = 1;
const POLLIN: i16 = 1;
const MADV_COLLAPSE: c_int = 25;

pub const PR_CAPBSET_DROP: c_int = 24;
pub const PR_SET_NO_NEW_PRIVS: c_int = 38;
pub const PR_CAP_AMBIENT: c_int = 47;
pub const PR_CAP_AMBIENT_CLEAR_ALL: c_ulong = 4;
pub const SECCOMP_SET_MODE_FILTER: c_ulong = 1;
pub const SECCOMP_FILTER_FLAG_NEW_LISTENER: c_ulong = 8;

pub const SYS_CLOSE_RANGE: c_long = 436;
pub const SYS_LANDLOCK_RESTRICT_SELF: c_long = 446;
#[cfg(target_arch = "x86_64")]
pub const SYS_CAPSET: c_long = 126;
#[cfg(not(target_arch = "x86_64"))]
pub const SYS_CAPSET: c_long = 91;
#[cfg(target_arch = "x86_64")]
pub const SYS_SECCOMP: c_long = 317;
#[cfg(not(target_arch = "x86_64"))]
pub const SYS_SECCOMP: c_long = 277;

#[repr(C)]
struct Poll {
    descriptor: c_int,
    events: i16,
    returned: i16,
}

#[repr(C)]
struct Limit {
    current: u64,
    maximum: u64,
}

/// `struct timeval` and what follows it in `struct rusage`.
#[repr(C)]
struct Usage {
    user: [c_long; 2],
    system: [c_long; 2],
    rest: [c_long; 14],
}

#[repr(C)]
struct SignalSet([u64; 16]);

// SAFETY: the signatures are those of the C library. `kernel/tests.rs` compares constants and structures.
unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn close(descriptor: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn execve(path: *const c_char, arguments: *const *const c_char, environment: *const *const c_char) -> c_int;
    fn fflush(stream: *mut c_void) -> c_int;
    fn fopen(path: *const c_char, mode: *const c_char) -> *mut c_void;
    fn fork() -> c_int;
    fn getpid() -> c_int;
    fn kill(process: c_int, signal: c_int) -> c_int;
    fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn poll(list: *mut Poll, count: c_ulong, milliseconds: c_int) -> c_int;
    fn prctl(operation: c_int, ...) -> c_int;
    fn read(descriptor: c_int, buffer: *mut c_void, length: usize) -> isize;
    fn sched_yield() -> c_int;
    fn setns(descriptor: c_int, kind: c_int) -> c_int;
    fn setrlimit(resource: c_int, limit: *const Limit) -> c_int;
    fn setsid() -> c_int;
    #[link_name = "signal"]
    fn set_signal(number: c_int, handler: usize) -> usize;
    fn signalfd(descriptor: c_int, set: *const SignalSet, flags: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigtimedwait(set: *const SignalSet, information: *mut c_void, time: *const [c_long; 2]) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn wait4(process: c_int, status: *mut c_int, options: c_int, usage: *mut Usage) -> c_int;
    fn write(descriptor: c_int, buffer: *const c_void, length: usize) -> isize;
    fn _exit(status: c_int) -> !;
}

fn error() -> Errno {
    // SAFETY: the function has no arguments.
    let place = unsafe { __errno_location() };
    // SAFETY: the C library returns a valid pointer for this thread.
    Errno(unsafe { *place })
}

fn check(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(error()) } else { Ok(result) }
}

/// The number of bytes, or the error.
pub fn transferred(length: isize) -> Result<usize, Errno> {
    usize::try_from(length).map_err(|_| error())
}

pub fn exit(status: c_int) -> ! {
    // SAFETY: the function only takes a number.
    unsafe { _exit(status) }
}

/// Flushes the streams of C code.
pub fn flush_c_streams() {
    // SAFETY: null means all streams.
    unsafe { fflush(ptr::null_mut()) };
}

/// `FILE *`, or null.
pub fn open_stream(path: &CStr) -> *mut c_void {
    // SAFETY: both are C strings.
    unsafe { fopen(path.as_ptr(), c"rb".as_ptr()) }
}

pub fn change_directory(path: &CStr) -> Result<(), Errno> {
    // SAFETY: a C string.
    check(unsafe { chdir(path.as_ptr()) }).map(drop)
}

pub fn close_descriptor(descriptor: Descriptor) {
    // SAFETY: the function takes a number. The callers make sure that nothing uses the descriptor any more.
    unsafe { close(descriptor) };
}

/// Closes the descriptor `first` and all above it.
pub fn close_from(first: Descriptor) -> Result<(), Errno> {
    call(SYS_CLOSE_RANGE, [first as usize, c_uint::MAX as usize, 0])
}

pub fn duplicate_to(from: Descriptor, to: Descriptor) -> Result<(), Errno> {
    // SAFETY: the function only takes numbers.
    check(unsafe { dup2(from, to) }).map(drop)
}

/// Replaces this process by another program. Returns only if that fails. Both lists must end with a null pointer.
pub fn execute(path: *const c_char, arguments: &[*const c_char], environment: &[*const c_char]) -> Errno {
    // SAFETY: the callers build both lists from C strings that outlive the call, each with a null at its end.
    unsafe { execve(path, arguments.as_ptr(), environment.as_ptr()) };
    error()
}

/// Returns 0 in the child.
pub fn fork_process() -> Result<c_int, Errno> {
    // SAFETY: this process has one thread. The C library calls the registered fork handlers.
    check(unsafe { fork() })
}

/// Lets others run first that wait for this CPU.
pub fn yield_processor() {
    // SAFETY: the function has no arguments.
    unsafe { sched_yield() };
}

pub fn own_process_id() -> c_int {
    // SAFETY: the function has no arguments.
    unsafe { getpid() }
}

/// Moves private memory between two addresses into large pages where it is dense. Needs Linux 6.1.
pub fn gather_memory(from: usize, to: usize) {
    const LARGE: usize = 2 << 20;
    // One page at a time: the call would stop at the first place without memory.
    for place in (from.next_multiple_of(LARGE)..to).step_by(LARGE).filter(|place| to - place >= LARGE) {
        // SAFETY: the call does not change the content; without memory there it fails.
        unsafe { madvise(place as *mut c_void, LARGE, MADV_COLLAPSE) };
    }
}

pub fn signal_process(process: c_int, signal: c_int) {
    // SAFETY: the function only takes numbers.
    unsafe { kill(process, signal) };
}

pub fn reset_signal(signal: c_int) {
    // SAFETY: 0 is the default action.
    unsafe { set_signal(signal, 0) };
}

pub fn open_read_only(path: &CStr) -> Result<Descriptor, Errno> {
    // SAFETY: a C string.
    check(unsafe { open(path.as_ptr(), O_RDONLY | O_CLOEXEC) })
}

/// Waits until one of two descriptors can be read, or is at its end. Returns which.
pub fn wait_for(first: Descriptor, second: Descriptor) -> Result<(bool, bool), Errno> {
    let mut list = [first, second].map(|descriptor| Poll { descriptor, events: POLLIN, returned: 0 });
    // SAFETY: the list has two entries and outlives the call.
    uninterrupted(|| check(unsafe { poll(list.as_mut_ptr(), 2, -1) }))?;
    Ok((list[0].returned != 0, list[1].returned != 0))
}

/// Repeats a call that a signal has interrupted.
pub fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno(EINTR)) => {}
            result => return result,
        }
    }
}

pub fn control(operation: c_int, argument: c_ulong) -> Result<(), Errno> {
    let unused: c_ulong = 0;
    // SAFETY: the operations that are used here take numbers.
    check(unsafe { prctl(operation, argument, unused, unused, unused) }).map(drop)
}

/// Installs a seccomp filter: `program` is a list of 8-byte instructions. Returns its listener, which hangs up when the last process
/// with this filter is ending. None if a filter that is installed already has one: the kernel permits no second.
pub fn install_filter(program: &[u8]) -> Result<Option<Descriptor>, Errno> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const u8,
    }
    let program = Program { length: (program.len() / 8) as u16, instructions: program.as_ptr() };
    let install = |flags: c_ulong| {
        // SAFETY: the kernel copies the program, which outlives the call.
        check(unsafe { syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, &raw const program) } as c_int)
    };
    match install(SECCOMP_FILTER_FLAG_NEW_LISTENER) {
        Err(Errno(EBUSY)) => install(0).map(|_| None),
        listener => listener.map(Some),
    }
}

pub fn set_no_capabilities() -> Result<(), Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let none: [u32; 6] = [0; 6];
    call(SYS_CAPSET, [header.as_ptr() as usize, none.as_ptr() as usize, 0])
}

pub fn restrict_with_landlock(rules: Descriptor) -> Result<(), Errno> {
    call(SYS_LANDLOCK_RESTRICT_SELF, [rules as usize, 0, 0])
}

fn call(number: c_long, arguments: [usize; 3]) -> Result<(), Errno> {
    // SAFETY: the callers pass numbers, and addresses of structures of the kernel that outlive the call.
    match unsafe { syscall(number, arguments[0], arguments[1], arguments[2]) } {
        0 => Ok(()),
        _ => Err(error()),
    }
}

pub fn join_namespaces(of: Descriptor, kinds: c_int) -> Result<(), Errno> {
    // SAFETY: the function only takes numbers.
    check(unsafe { setns(of, kinds) }).map(drop)
}

/// Sets the soft and the hard limit of a resource.
pub fn limit(resource: u32, value: u64) -> Result<(), Errno> {
    let limit = Limit { current: value, maximum: value };
    // SAFETY: the structure outlives the call.
    check(unsafe { setrlimit(resource as c_int, &raw const limit) }).map(drop)
}

pub fn start_session() -> Result<(), Errno> {
    // SAFETY: the function has no arguments.
    check(unsafe { setsid() }).map(drop)
}

/// Blocks SIGCHLD and returns a signalfd for it.
pub fn block_child_signal() -> Result<Descriptor, Errno> {
    let set = SignalSet::of(&[SIGCHLD]);
    // SAFETY: the set outlives the call.
    check(unsafe { sigprocmask(SIG_BLOCK, &raw const set, ptr::null_mut()) })?;
    // SAFETY: the set outlives the call.
    check(unsafe { signalfd(-1, &raw const set, SFD_CLOEXEC) })
}

/// For a child: unblocks SIGCHLD, see [`block_child_signal`], and the termination signals that the spawner has blocked. Discards pending
/// signals, because they were sent to the zygote's process group.
pub fn unblock_signals() {
    let now = [0; 2];
    let set = SignalSet::of(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD]);
    // SAFETY: the set and the time outlive the call; null means no information.
    while unsafe { sigtimedwait(&raw const set, ptr::null_mut(), &raw const now) } > 0 {}
    // SAFETY: the set outlives the call.
    unsafe { sigprocmask(SIG_UNBLOCK, &raw const set, ptr::null_mut()) };
}

impl SignalSet {
    /// Signals from 1 to 64.
    fn of(signals: &[c_int]) -> Self {
        let mut set = SignalSet([0; 16]);
        set.0[0] = signals.iter().map(|signal| 1 << (signal - 1)).sum();
        set
    }
}

/// Reaps one ended child: (process id, wait status, CPU time in milliseconds). `None` if no child has ended.
pub fn reap() -> Option<(c_int, c_int, u64)> {
    let (mut status, mut usage) = (0, Usage { user: [0; 2], system: [0; 2], rest: [0; 14] });
    // SAFETY: both outlive the call, and the structure has the kernel's layout.
    let process = unsafe { wait4(-1, &raw mut status, WNOHANG, &raw mut usage) };
    let milliseconds = |time: [c_long; 2]| (time[0] * 1000 + time[1] / 1000) as u64;
    (process > 0).then(|| (process, status, milliseconds(usage.user) + milliseconds(usage.system)))
}

/// Reads once. Returns the length, which is 0 at the end.
pub fn read_into(descriptor: Descriptor, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer has this length.
    uninterrupted(|| transferred(unsafe { read(descriptor, buffer.as_mut_ptr().cast(), buffer.len()) }))
}

/// Writes once: what is written here is short enough for that.
pub fn write_all(descriptor: Descriptor, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the bytes have this length.
    uninterrupted(|| transferred(unsafe { write(descriptor, bytes.as_ptr().cast(), bytes.len()) })).map(drop)
}
