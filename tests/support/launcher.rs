//! How tests start the daemon. One that is told of no interpreter takes a service on port 50081 where this machine has one: there it is
//! started in a network of its own.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::OnceLock;

const DAEMON: &str = env!("CARGO_BIN_EXE_python-interpreter-mcpd");
const ALONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/support/alone/python-interpreter-mcpd");

/// The program to start, with what [`prepare`] sets.
pub fn daemon() -> &'static str {
    if port_is_taken() { ALONE } else { DAEMON }
}

/// What `daemon()` needs in its environment, and a shim that starts it.
pub fn prepare(command: &mut Command) {
    if port_is_taken() {
        command.env("TEST_DAEMON", DAEMON).env("PYTHON_INTERPRETER_MCPD", ALONE);
    }
}

fn port_is_taken() -> bool {
    static TAKEN: OnceLock<bool> = OnceLock::new();
    *TAKEN.get_or_init(|| {
        let taken = TcpStream::connect(("localhost", 50_081)).is_ok();
        if taken {
            let said = "a service of this machine listens on port 50081: daemons are started in networks without it";
            let _ = writeln!(io::stderr(), "{said}");
        }
        taken
    })
}
