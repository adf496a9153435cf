//! Programs that hide what memory they take. Each is run to its end outside, and ended at its memory limit in a slot.

use crate::support::interpreter::Interpreter;

/// How much is taken outside, where it is only to be shown that it can be.
const LITTLE: u64 = 16;
/// And inside, in MiB, where the limit is 512.
const MUCH: u64 = 800;

/// Runs `program`, which takes MIB and prints "taken", and after `hide()` "hidden".
fn is_ended(interpreter: &Interpreter, program: &str) {
    let program = |mib: u64, hold: u64| {
        format!(
            "import ctypes, mmap, os, socket, threading, time
MIB, HOLD = {mib}, {hold}
libc = ctypes.CDLL(None, use_errno=True)
def taken(size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
    memory = mmap.mmap(-1, size, flags=flags)
    ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 1, size)
    return memory
def place(memory, offset=0): return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)) + offset)
{program}
print('hidden', flush=True)
time.sleep(HOLD)
print('REACHED', flush=True)"
        )
    };
    let outside = interpreter.twin(&program(LITTLE, 0));
    assert!(outside.ends_with("hidden\nREACHED\n"), "{outside}");
    let result = interpreter.run_for(60.0, &program(MUCH, 40));
    let stderr = result["stderr"].as_str().unwrap();
    assert_eq!(result["exit_code"], 137, "{result}");
    assert!(stderr.lines().any(|line| line.starts_with("Killed: ") && line.contains("memory")), "{result}");
    interpreter.is_unscathed();
}

fn with_little_memory() -> Interpreter {
    Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_MEMORY", "512M"), ("PYTHON_INTERPRETER_MCP_CONCURRENCY", "2")])
}

#[test]
fn in_a_process_that_a_thread_has_started() {
    is_ended(
        &with_little_memory(),
        "def start():
    if os.fork() == 0: kept = taken(MIB << 20); time.sleep(HOLD); os._exit(0)
    time.sleep(HOLD)
thread = threading.Thread(target=start); thread.start()
time.sleep(HOLD)
thread.join()",
    );
}

#[test]
fn in_shared_memory_that_is_mapped_in_part() {
    let interpreter = with_little_memory();
    for hide in [
        "libc.munmap(place(memory, 4096), size - 4096)",
        "libc.munmap(place(memory), size - 4096)",
        "libc.mprotect(place(memory, size // 2), 4096, 0)",
        "libc.mprotect(place(memory), size, 0)",
        "memory.madvise(mmap.MADV_DONTNEED)",
        "libc.prctl(0x53564d41, 0, place(memory), ctypes.c_ulong(size), b'a name')",
        "libc.prctl(4, 0, 0, 0, 0)",
    ] {
        is_ended(&interpreter, &format!("size = MIB << 20\nmemory = taken(size, mmap.MAP_SHARED)\n{hide}"));
    }
}

#[test]
fn in_shared_memory_that_is_hidden_before_it_is_taken() {
    let interpreter = with_little_memory();
    for hide in [
        "libc.mprotect(place(memory, size - 4096), 4096, 0)",
        "libc.munmap(place(memory, size - 4096), 4096); libc.mprotect(place(memory, size - 8192), 4096, 0)",
        "libc.prctl(0x53564d41, 0, place(memory), ctypes.c_ulong(size), b'a name')",
    ] {
        is_ended(
            &interpreter,
            &format!(
                "size = MIB << 20\nmemory = mmap.mmap(-1, size)\n{hide}
libc.memset(place(memory), 1, ctypes.c_size_t(size - 8192))"
            ),
        );
    }
}

#[test]
fn behind_so_many_mappings_that_a_look_takes_long() {
    is_ended(
        &with_little_memory(),
        "reading, writing = os.pipe()
many = 25000 if MIB > 100 else 100
for _ in range(3):
    if os.fork() == 0:
        os.read(reading, 1)
        kept = taken(MIB << 18)
        time.sleep(HOLD); os._exit(0)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
start = libc.mmap(None, many * 8192, 1, 0x22, -1, 0)
for number in range(many): libc.mprotect(ctypes.c_void_p(start + number * 8192), 4096, 0)
for _ in range(60):
    if os.fork() == 0: time.sleep(HOLD); os._exit(0)
os.write(writing, b'xxx')",
    );
}

#[test]
fn in_what_sockets_hold() {
    is_ended(
        &with_little_memory(),
        "reading, writing = os.pipe()
for _ in range(MIB // 16):
    if os.fork() == 0:
        pairs = [socket.socketpair() for _ in range(100)]
        for ours, theirs in pairs:
            ours.setblocking(False)
            try:
                while True: ours.send(bytes(65536))
            except BlockingIOError: pass
        os.write(writing, b'x'); time.sleep(HOLD); os._exit(0)
for _ in range(MIB // 16): os.read(reading, 1)",
    );
}

#[test]
fn passed_from_process_to_process() {
    is_ended(
        &with_little_memory(),
        "end = time.monotonic() + HOLD
kept = taken(MIB << 20)
first = os.getpid()
# The next one goes on with it, and this one ends.
while time.monotonic() < end:
    if os.fork(): os._exit(0) if os.getpid() != first else time.sleep(HOLD)",
    );
}
