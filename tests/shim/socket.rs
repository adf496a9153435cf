//! What lies where a socket should be is replaced only if it is a stale socket of this user.

use std::io::Write as _;
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        net::{UnixListener, UnixStream},
    },
    process::Command,
};

use crate::support::{Home, Running, accept, within};
use python_interpreter_mcp::endpoint::{self, EndpointError};

#[test]
fn binds_a_socket_for_this_user_alone() {
    let home = Home::new();
    let listener: UnixListener = endpoint::bind(&home.socket()).unwrap().into();
    let found = fs::metadata(home.socket()).unwrap();
    assert_eq!(found.mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(home.runtime().join("mcp.lock")).unwrap().mode() & 0o777, 0o600);
    let client = endpoint::connect(&home.socket()).unwrap().unwrap();
    assert!(endpoint::peer_is_this_user(accept(&listener)).unwrap());
    drop((listener, client));
    assert!(home.socket().exists(), "closing one copy must not remove the name");
}

#[test]
fn replaces_a_stale_socket_but_not_a_served_one() {
    let home = Home::new();
    drop(home.listen());
    let _listener = endpoint::bind(&home.socket()).unwrap();
    let error = endpoint::bind(&home.socket()).unwrap_err();
    assert!(matches!(error, EndpointError::AlreadyServed { .. }), "{error}");
}

#[test]
fn refuses_what_is_not_a_socket_and_leaves_it() {
    let home = Home::new();
    fs::write(home.socket(), "precious").unwrap();
    let error = endpoint::bind(&home.socket()).unwrap_err();
    assert!(error.to_string().contains("is not a socket; move it away"), "{error}");
    assert_eq!(fs::read_to_string(home.socket()).unwrap(), "precious");

    let elsewhere = home.path().join("elsewhere");
    fs::rename(home.socket(), &elsewhere).unwrap();
    symlink(&elsewhere, home.socket()).unwrap();
    let error = endpoint::bind(&home.socket()).unwrap_err();
    assert!(error.to_string().contains("is a symbolic link, not a socket"), "{error}");
    assert!(elsewhere.exists());
}

#[test]
fn refuses_a_lock_that_is_a_symlink() {
    let home = Home::new();
    symlink("/dev/null", home.runtime().join("mcp.lock")).unwrap();
    let error = endpoint::bind(&home.socket()).unwrap_err();
    assert!(matches!(error, EndpointError::Lock { .. }), "{error}");
}

#[test]
fn refuses_another_users_socket_stale_or_served() {
    if !rustix::process::geteuid().is_root() {
        drop(writeln!(std::io::stderr(), "passed over: making another user's socket takes root"));
        return;
    }
    let home = Home::new();
    drop(home.listen());
    chown(home.socket(), Some(4242), None).unwrap();
    let error = endpoint::bind(&home.socket()).unwrap_err();
    assert!(error.to_string().contains("belongs to another user, 4242"), "{error}");

    // The same path served by another user's process: only the kernel's word about the peer tells.
    fs::remove_file(home.socket()).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = home.path().join("theirs.sock");
    let serve = "import os, socket, sys\nos.setgid(4242); os.setuid(4242)\ns = socket.socket(socket.AF_UNIX)\n\
                 s.bind(sys.argv[1]); s.listen(); sys.stdin.read()";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", serve]).arg(&path).stdin(std::process::Stdio::piped());
    let _theirs = Running::start(&mut command);
    crate::support::until("their listener", || UnixStream::connect(&path).is_ok());
    let error = endpoint::connect(&path).unwrap_err();
    assert!(error.to_string().contains("is served by another user"), "{error}");
}

#[test]
fn refuses_a_path_that_a_socket_address_cannot_hold() {
    let home = Home::new();
    let path = home.path().join("x".repeat(108 - home.path().as_os_str().len() - 1));
    assert_eq!(path.as_os_str().len(), 108);
    let error = endpoint::bind(&path).unwrap_err();
    assert!(error.to_string().contains("has 108 bytes and the system allows 107"), "{error}");
    let fits = path.with_file_name(&path.file_name().unwrap().to_str().unwrap()[1..]);
    endpoint::bind(&fits).unwrap();
}

#[test]
fn the_shim_says_what_is_wrong_with_its_runtime_directory() {
    let home = Home::new();
    fs::set_permissions(home.runtime(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut shim = Running::start(&mut home.shim());
    assert_eq!(shim.ended_promptly(), Some(1));
    let said = within("the sentence", move || shim.stderr());
    assert!(said.starts_with("python-interpreter-mcp: ") && said.contains("mode 0755"), "{said}");
    assert!(said.contains(&format!("chmod 700 {}", home.runtime().display())), "{said}");
}
