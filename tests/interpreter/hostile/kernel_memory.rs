//! Programs that take the kernel's memory in ways that no limit of a process counts, each with a harmless twin outside.

use crate::support::interpreter::Interpreter;

/// What `program` prints outside the sandbox and in a slot.
fn outside_and_inside(interpreter: &Interpreter, program: &str) -> [String; 2] {
    let outside = interpreter.twin(program);
    let result = interpreter.execute(program);
    assert_eq!((&result["stderr"], &result["exit_code"]), (&"".into(), &0.into()), "{result}");
    interpreter.is_unscathed();
    [outside, result["stdout"].as_str().unwrap().to_owned()]
}

#[test]
fn a_process_gets_no_table_of_futexes_of_its_own() {
    let interpreter = Interpreter::start();
    let [outside, inside] = outside_and_inside(
        &interpreter,
        "import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.prctl(78, 1, ctypes.c_ulong(16), ctypes.c_ulong(0), 0), ctypes.get_errno(), os.uname().release)",
    );
    assert!(inside.starts_with("-1 22 "), "{inside}");
    // From Linux 6.16 it succeeds outside.
    let release = outside.trim().rsplit(' ').next().unwrap();
    let mut numbers = release.split('.').filter_map(|number| number.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) >= (Some(6), Some(16)) {
        assert!(outside.starts_with("0 0 "), "{outside}");
    }
}

#[test]
fn pages_are_not_held_by_pipes() {
    let interpreter = Interpreter::start();
    let [outside, inside] = outside_and_inside(
        &interpreter,
        "import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
reading, writing = os.pipe()
memory = mmap.mmap(-1, 4096); memory[0] = 7
place = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 1)
print(libc.vmsplice(writing, place, 1, 0))",
    );
    assert_eq!([outside.trim(), inside.trim()], ["1", "-1"]);
}

#[test]
fn pipes_do_not_grow() {
    let interpreter = Interpreter::start();
    let [outside, inside] = outside_and_inside(
        &interpreter,
        "import fcntl, os
reading, writing = os.pipe()
for size in (4096, 65536, 1 << 20):
    try: print(fcntl.fcntl(writing, 1031, size))
    except OSError as error: print(error.errno)",
    );
    assert_eq!([outside.as_str(), inside.as_str()], ["4096\n65536\n1048576\n", "4096\n65536\n1\n"]);
}

#[test]
fn buffers_of_sockets_do_not_grow() {
    let interpreter = Interpreter::start();
    let [outside, inside] = outside_and_inside(
        &interpreter,
        "import socket
made = [socket.socket(), socket.socket(type=socket.SOCK_DGRAM), *socket.socketpair()]
for one in made:
    for name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        before = one.getsockopt(socket.SOL_SOCKET, name)
        one.setsockopt(socket.SOL_SOCKET, name, before + 4096)
        print(one.getsockopt(socket.SOL_SOCKET, name) > before, end=' ')
# Which the library may use to find what the system allows: 32 and 33 are for the privileged.
for name in (32, 33):
    try: made[0].setsockopt(socket.SOL_SOCKET, name, 1 << 30)
    except PermissionError: print('denied', end=' ')
print(max(one.getsockopt(socket.SOL_SOCKET, name) for one in made for name in (7, 8)) < 1 << 22)",
    );
    assert_eq!(outside.trim(), format!("{}denied denied True", "True ".repeat(8)));
    assert_eq!(inside.trim(), format!("{}True", "False ".repeat(8)));
}

#[test]
fn connections_hold_little_whatever_their_sockets_were_told() {
    let interpreter = Interpreter::start();
    // What of one connection was sent and never read, in KiB: with large buffers as far as the system allows.
    let [outside, inside] = outside_and_inside(
        &interpreter,
        "import socket
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
server.bind(('127.0.0.1', 0)); server.listen()
client = socket.socket()
client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
client.connect(server.getsockname()); accepted, _ = server.accept(); client.settimeout(0.5)
sent = 0
try:
    while True: sent += client.send(bytes(65536))
except TimeoutError: print(sent >> 10)",
    );
    let [outside, inside] = [outside, inside].map(|sent| sent.trim().parse::<u64>().unwrap());
    assert!(outside > 256 && inside < 128, "{outside} KiB outside, {inside} KiB inside");
}

#[test]
fn neither_rulesets_nor_filters_are_made_by_programs() {
    let interpreter = Interpreter::start();
    let [outside, inside] = outside_and_inside(
        &interpreter,
        "import ctypes, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def tell(name, result): print(name, 'REACHED' if result >= 0 else ctypes.get_errno())
tell('landlock', libc.syscall(444, ctypes.create_string_buffer(struct.pack('Q', 1)), 8, 0))
instructions = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
program = struct.pack('HxxxxxxQ', 1, ctypes.addressof(instructions))
try: socket.socket(type=socket.SOCK_DGRAM).setsockopt(socket.SOL_SOCKET, 26, program); tell('socket', 0)
except OSError as error: print('socket', error.errno)
libc.prctl(38, 1, 0, 0, 0)
tell('prctl', libc.prctl(22, 2, program, 0, 0))",
    );
    assert_eq!(outside, "landlock REACHED\nsocket REACHED\nprctl REACHED\n");
    assert_eq!(inside, "landlock 38\nsocket 92\nprctl 22\n");
}
