//! The programs that tests start. A daemon that is told of no interpreter takes a service on port 50081 where this machine has one: there
//! it is started in a network of its own.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use super::own_network;

const DAEMON: &str = env!("CARGO_BIN_EXE_python-interpreter-mcpd");
const SHIM: &str = "python-interpreter-mcp";
const SHIM_SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shim/src");

/// A daemon that is told of a service has to reach it, which the test plays.
const ALONE: &str = r#"#!/bin/sh
case " $* " in *" --interpreter-url "*) exec PROGRAM "$@" ;; esac
if [ -n "${PYTHON_INTERPRETER_MCP_URL:-}" ] || /usr/bin/grep -qs '^interpreter_url' "$HOME/.config/python-interpreter-mcp/config.toml"; then
  exec PROGRAM "$@"
fi
exec /usr/bin/unshare USER --net PROGRAM "$@"
"#;

pub fn daemon() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| launched(Path::new(DAEMON)))
}

pub fn shim() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| launched(&built_shim()))
}

/// The shim, which finds the daemon next to itself. It belongs to another crate than this test, so cargo builds it only
/// together with that crate's tests.
pub fn built_shim() -> PathBuf {
    let shim = Path::new(DAEMON).with_file_name(SHIM);
    let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    let built = changed(&shim);
    let is_current = built.is_some() && newest(Path::new(SHIM_SOURCES), &changed) <= built;
    assert!(is_current, "{} is missing or old: run `cargo test` in the workspace, which builds it", shim.display());
    shim
}

fn newest(folder: &Path, changed: &impl Fn(&Path) -> Option<SystemTime>) -> Option<SystemTime> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter_map(|path| if path.is_dir() { newest(&path, changed) } else { changed(&path) }).max()
}

/// Whether daemons that are told of no interpreter have a network of their own.
pub fn are_alone() -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    *ALONE.get_or_init(|| {
        let taken = !own_network::is_inside() && TcpStream::connect(("localhost", 50_081)).is_ok();
        if taken {
            let said = "a service of this machine listens on port 50081: daemons are started in networks without it";
            let _ = writeln!(io::stderr(), "{said}");
        }
        taken
    })
}

/// The program itself, or a script of its name that starts it.
fn launched(program: &Path) -> String {
    let started = if are_alone() { script(program) } else { program.to_owned() };
    started.into_os_string().into_string().unwrap()
}

fn script(program: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone");
    fs::create_dir_all(&folder).unwrap();
    let user = if rustix::process::geteuid().is_root() { "" } else { "--user --map-current-user" };
    let text = ALONE.replace("PROGRAM", &format!("'{}'", program.display())).replace("USER", user);
    let path = folder.join(program.file_name().unwrap());
    // By another process: while this one writes a file, a child that is forked for another test has it open as well, and what is open for
    // writing cannot be started.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"cat >"$0.$$" && chmod 755 "$0.$$" && mv "$0.$$" "$0""#]).arg(&path).stdin(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "{} is written", path.display());
    path
}
