//! A process and a network of its own for a test that needs a certain port: nobody on this machine has it there, and no other test.

use std::any::type_name;
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use super::passed_over;

/// Tells the process of its own that it is one.
const INSIDE: &str = "PYTHON_INTERPRETER_MCP_TEST_OWN_NETWORK";
/// The loopback interface of a new network is down. SIOCSIFFLAGS with IFF_UP, for want of `ip`.
const LOOPBACK_UP: &str = r#"ip link set lo up 2>/dev/null || /usr/bin/python3 -c '
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 1))' && exec "$0" "$@""#;

/// Whether this is a process of its own.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// True in the process of its own. Elsewhere starts that process, in which this program runs `test` alone, waits for its end, and fails as
/// the test does; the test is over then.
pub fn is_own<Test>(_test: Test) -> bool {
    if is_inside() {
        return true;
    }
    let (_program, test) = type_name::<Test>().split_once("::").unwrap();
    // An ordinary user makes a network in a user namespace, where it is root.
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let within = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(user).args(["--net", "sh", "-c", LOOPBACK_UP]).arg(program).args(arguments);
        command.env(INSIDE, "1").stdin(Stdio::null()).output()
    };
    let reason = match within(Path::new("true"), &[]) {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    };
    if let Some(reason) = reason {
        passed_over(&format!("there is no network of its own: {reason}"));
        return false;
    }
    let output = within(&env::current_exe().unwrap(), &["--exact", "--nocapture", test]).unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{test} in a network of its own:\n{said}");
    false
}
