//! Programs that leave something in their network, and later ones that look for it.

use std::collections::BTreeSet;

use crate::support::interpreter::Interpreter;

/// Prints a number that no other network has, and all that the kernel tells of this one. Leaves nothing.
const LOOK: &str = "import json, os, socket
with socket.socket() as one: number = int.from_bytes(one.getsockopt(socket.SOL_SOCKET, 71, 8), 'little')
told = {}
# These tell of the whole machine.
for name in set(os.listdir('/proc/net')) - {'softnet_stat', 'ptype', 'protocols', 'rt_cache'}:
    try: text = open('/proc/net/' + name).read()
    except OSError as error: text = str(error)
    # Addresses in the kernel.
    if name in ('unix', 'netlink', 'packet'): text = len(text.splitlines())
    # Most of the other lines tell of the whole machine.
    if name == 'sockstat': text = text.partition(chr(10))[0]
    told[name] = text
print(json.dumps([number, told]))";

/// The number of the next program's network, and what it is told of it.
fn look(interpreter: &Interpreter) -> (u64, serde_json::Value) {
    let result = interpreter.execute(LOOK);
    serde_json::from_str(result["stdout"].as_str().unwrap()).unwrap_or_else(|_| panic!("{result}"))
}

/// What a program does, after which its network must not serve again.
const TRACES: [(&str, &str); 8] = [
    ("a connection", "listener = socket.create_server(('127.0.0.1', 0)); socket.create_connection(listener.getsockname())"),
    ("a datagram", "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"),
    ("a datagram of IPv6", "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', ('::1', 9))"),
    ("a way out", "socket.socket().connect_ex(('192.0.2.1', 80))"),
    ("a way out over IPv6", "socket.socket(socket.AF_INET6).connect_ex(('2001:db8::1', 80))"),
    ("a route", "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).connect(('::1', 9))"),
    (
        "a flow label",
        "import struct; request = socket.inet_pton(socket.AF_INET6, '::1') + struct.pack('!I', 0x1234) + struct.pack('BBHHHI', 0, 1, 1, 0, 60, 0)
socket.socket(socket.AF_INET6).setsockopt(socket.IPPROTO_IPV6, 32, request)",
    ),
    (
        "a process that outlives the program",
        "listener = socket.create_server(('127.0.0.1', 0))
if not os.fork(): socket.create_connection(listener.getsockname()); import time; time.sleep(99)
listener.accept()",
    ),
];

/// The kernel collects sockets that only they themselves hold, some time after.
const SOCKETS_IN_FLIGHT: &str = "for _ in range(50):
    first, second = socket.socketpair(); socket.send_fds(first, [b'x'], [first.fileno(), second.fileno()])";

/// How long ago this CPU has looked up a route to itself, in hundredths of a second, by RTM_GETROUTE.
const ROUTE: &str = "import os, socket, struct
def ask(cpu):
    os.sched_setaffinity(0, {cpu})
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); netlink.bind((0, 0))
    body = struct.pack('BBBBBBBBIHH', 2, 32, 0, 0, 0, 0, 0, 0, 0, 8, 1) + socket.inet_aton('127.0.0.1')
    netlink.send(struct.pack('IHHII', 16 + len(body), 26, 1, 1, 0) + body)
    answer, place = netlink.recv(4096), 28
    while place < len(answer):
        length, kind = struct.unpack_from('HH', answer, place)
        if kind == 12: return struct.unpack_from('II', answer, place + 4)[1]
        place += length + 3 & ~3
print(max(ask(cpu) for cpu in os.sched_getaffinity(0)))";

/// What a program may do without a trace.
const NO_TRACES: [&str; 3] = [
    "socket.create_server(('127.0.0.1', 8080))",
    "socket.create_server(('::1', 8080), family=socket.AF_INET6)",
    "abstract = socket.socket(socket.AF_UNIX); abstract.bind(chr(0) + 'name'); abstract.listen()",
];

#[test]
fn no_program_finds_traces_of_another_in_its_network() {
    let interpreter = Interpreter::start();
    let (_, new) = look(&interpreter);
    assert!(new["dev"].as_str().unwrap().contains("lo:") && new["snmp"].is_string(), "{new}");
    let act = |code: &str| {
        let code = format!("{LOOK}\n{code}");
        let result = interpreter.execute(&code);
        assert_eq!(result["exit_code"], 0, "{code}\n{result}");
        let (number, told): (u64, serde_json::Value) =
            serde_json::from_str(result["stdout"].as_str().unwrap()).unwrap();
        assert_eq!(told, new, "before {code}");
        number
    };
    // Which waiting child a program gets, and so which network, is not known.
    let several = |code, times| (0..times).map(|_| act(code)).collect::<BTreeSet<u64>>();
    for (what, code) in TRACES {
        let numbers = several(code, 6);
        assert_eq!(numbers.len(), 6, "{what}: {numbers:?}");
        for _ in 0..12 {
            let (number, told) = look(&interpreter);
            assert_eq!(told, new, "after {what}");
            assert!(!numbers.contains(&number), "after {what}");
        }
    }
    several(SOCKETS_IN_FLIGHT, 12);
    // The twin: a network without a trace serves again. What was bound is free.
    for code in NO_TRACES {
        let numbers = several(code, 24);
        assert!(numbers.len() < 24, "{code}: {numbers:?}");
    }
    interpreter.is_unscathed();
}

#[test]
fn no_program_learns_when_another_has_looked_up_a_route() {
    let interpreter = Interpreter::start();
    let connect = "import os, socket
for cpu in os.sched_getaffinity(0):
    os.sched_setaffinity(0, {cpu}); socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 9))";
    // The twin: within one program it shows.
    let both = format!("{connect}\nimport time; time.sleep(0.5)\n{ROUTE}");
    let age = |code: &str| {
        let result = interpreter.execute(code);
        result["stdout"].as_str().unwrap().trim().parse::<u32>().unwrap_or_else(|_| panic!("{result}"))
    };
    assert!(age(&both) >= 49);
    for _ in 0..12 {
        assert_eq!(interpreter.execute(connect)["exit_code"], 0);
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    for _ in 0..12 {
        assert!(age(ROUTE) < 25);
    }
}

#[test]
fn programs_that_run_at_the_same_time_have_networks_of_their_own() {
    let interpreter = Interpreter::start();
    for _ in 0..3 {
        let code = format!("{LOOK}\nimport time; time.sleep(1)");
        let numbers = std::thread::scope(|scope| {
            let runs = [0; 6].map(|_| scope.spawn(|| interpreter.execute(&code)));
            runs.map(|run| {
                let result = run.join().unwrap();
                let output = result["stdout"].as_str().unwrap();
                serde_json::from_str::<(u64, serde_json::Value)>(output).unwrap_or_else(|_| panic!("{result}")).0
            })
        });
        let different: BTreeSet<_> = numbers.iter().collect();
        assert_eq!(different.len(), numbers.len(), "{numbers:?}");
    }
}

/// The kernel reports memberships on loopback for some time, when another program may have the network.
#[test]
fn multicast_groups_cannot_be_joined_so_that_nothing_happens_in_a_network_later() {
    let join = "import socket, struct
four = socket.inet_aton('239.1.2.3') + socket.inet_aton('127.0.0.1')
six = socket.inet_pton(socket.AF_INET6, 'ff15::1234') + struct.pack('I', 1)
for family, level, option, value in ((socket.AF_INET, 0, 35, four), (socket.AF_INET6, 41, 20, six)):
    try: socket.socket(family, socket.SOCK_DGRAM).setsockopt(level, option, value); print('JOINED')
    except OSError as error: print(error.errno)";
    let interpreter = Interpreter::start();
    assert_eq!(interpreter.execute(join)["stdout"], "19\n19\n");
    // The twin.
    let with_host = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_NETWORK", "host")]);
    assert_eq!(with_host.execute(join)["stdout"], "JOINED\nJOINED\n");
}
