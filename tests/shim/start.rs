//! Where nobody listens the shim starts the daemon, once, as a service manager would.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::{Command, Stdio},
};

use crate::support::{Home, Running, SHIM, ScriptedDaemon, accept, until, within, write_program};
use python_interpreter_mcp::endpoint::{self, EndpointError, Owner};

/// Sends a line through a shim, waits for its echo, and leaves.
fn converse(shim: &mut Running, line: &'static str) {
    let (mut input, mut output) = (shim.0.stdin.take().unwrap(), shim.0.stdout.take().unwrap());
    input.write_all(line.as_bytes()).unwrap();
    let answer = within("the echo", move || {
        let mut answer = vec![0; line.len()];
        output.read_exact(&mut answer).map(|()| (answer, output)).unwrap()
    });
    assert_eq!(answer.0, line.as_bytes());
    drop(input);
    assert_eq!(shim.ended_promptly(), Some(0), "{}", shim.stderr());
    assert_eq!(shim.stderr(), "");
}

#[test]
fn starts_the_daemon_with_the_listening_socket_and_its_own_process_id() {
    let home = Home::new();
    let daemon = ScriptedDaemon::new(&home);
    let mut command = home.shim();
    command.env("PYTHON_INTERPRETER_MCPD", daemon.program());
    command.env("LISTEN_FDNAMES", "ours").env("NOTIFY_SOCKET", "/run/ours").env("KEPT", "yes");
    let mut shim = Running::start(&mut command);
    converse(&mut shim, "request\n");

    let starts = daemon.starts();
    assert_eq!(starts.len(), 1);
    let seen = &starts[0];
    let environment = &seen["environment"];
    assert_eq!(environment["LISTEN_FDS"], "1");
    assert_eq!(environment["LISTEN_PID"], seen["pid"].to_string());
    assert_eq!(environment["KEPT"], "yes");
    assert!(environment["LISTEN_FDNAMES"].is_null() && environment["NOTIFY_SOCKET"].is_null(), "{environment}");
    assert_eq!(seen["listening"], 1);
    assert_eq!(seen["name"], home.socket().to_str().unwrap());
    assert_eq!(seen["arguments"], serde_json::json!(["serve", "--background"]));
    assert_eq!(seen["folder"], "/");
    assert_ne!(seen["group"], rustix::process::getpgrp().as_raw_nonzero().get());
    let log = home.log();
    assert_eq!(seen["targets"], serde_json::json!(["/dev/null", "/dev/null", log]));
    assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(home.socket()).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(home.runtime()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn starts_the_daemon_that_lies_next_to_it() {
    let home = Home::new();
    let daemon = ScriptedDaemon::new(&home);
    let sibling = daemon.program().with_file_name("python-interpreter-mcp");
    write_program(&sibling, &fs::read(SHIM).unwrap());
    let link = home.path().join("linked");
    std::os::unix::fs::symlink(&sibling, &link).unwrap();
    let mut command = Command::new(link);
    command.env_clear().env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    converse(&mut Running::start(&mut command), "request\n");
    assert_eq!(daemon.starts().len(), 1);
}

#[test]
fn fifty_shims_at_once_start_one_daemon() {
    let home = Home::new();
    let daemon = ScriptedDaemon::new(&home);
    let start = || Running::start(home.shim().env("PYTHON_INTERPRETER_MCPD", daemon.program()));
    let mut shims: Vec<Running> = (0..50).map(|_| start()).collect();
    shims.iter_mut().for_each(|shim| converse(shim, "one of many\n"));
    assert_eq!(daemon.starts().len(), 1);
}

#[test]
fn the_daemon_keeps_no_descriptor_of_the_client_and_leaves_no_zombie() {
    let home = Home::new();
    let daemon = ScriptedDaemon::new(&home);
    // Two descriptors that a careless client leaks, beyond those that a shell could close by their one digit.
    let leak = "import os, sys\nr, w = os.pipe()\nfor n in (7, 23): os.dup2(w, n, inheritable=True)\n\
                os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", leak, SHIM]).env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
    command.env_remove("XDG_STATE_HOME").env("PYTHON_INTERPRETER_MCPD", daemon.program());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shim = Running::start(&mut command);
    until("the start", || daemon.starts().len() == 1);

    let seen = &daemon.starts()[0];
    // 4 is the folder of descriptors itself, closed again by the time that it is looked at.
    assert_eq!(seen["descriptors"], serde_json::json!([0, 1, 2, 3]));
    assert_ne!(seen["parent"], shim.0.id());
    let process = shim.0.id();
    until("the wait for the shell", || children(process).is_empty());
    let pid = rustix::process::Pid::from_raw(seen["pid"].as_i64().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    drop(shim.0.stdin.take());
    assert_eq!(shim.ended_promptly(), Some(0));
}

fn children(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap().trim().to_owned()
}

#[test]
fn a_stale_socket_is_replaced() {
    let home = Home::new();
    let daemon = ScriptedDaemon::new(&home);
    drop(home.listen());
    assert!(home.socket().exists());
    let mut shim = Running::start(home.shim().env("PYTHON_INTERPRETER_MCPD", daemon.program()));
    converse(&mut shim, "request\n");
    assert_eq!(daemon.starts().len(), 1);
}

#[test]
fn a_missing_daemon_is_reported_with_where_it_was_looked_for() {
    let home = Home::new();
    let mut shim = Running::start(&mut home.shim());
    assert_eq!(shim.ended_promptly(), Some(1));
    let said = shim.stderr();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("python-interpreter-mcp: python-interpreter-mcpd was not found at /nonexistent/"),
        "{said}"
    );
}

#[test]
fn a_running_daemon_is_reached_where_none_is_installed() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let _daemon = accept(&listener);
    drop(shim.0.stdin.take());
    assert_eq!((shim.ended().code(), shim.stderr().as_str()), (Some(0), ""));
}

#[test]
fn a_daemon_that_fails_at_once_is_reported_with_its_log() {
    let home = Home::new();
    let program = home.path().join("fails");
    fs::write(&program, "#!/bin/sh\necho out of order >&2\nexit 3\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut shim = Running::start(home.shim().env("PYTHON_INTERPRETER_MCPD", &program));
    let (mut input, output) = (shim.0.stdin.take().unwrap(), shim.0.stdout.take().unwrap());
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"initialize\"}\n").unwrap();
    let said = within("an error", move || {
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said).map(|_| said).unwrap()
    });
    assert!(said.contains("\"id\":7") && said.contains(home.log().to_str().unwrap()), "{said}");
    drop(input);
    assert_eq!(shim.ended_promptly(), Some(0));
    until("the log", || fs::read_to_string(home.log()).is_ok_and(|log| log.starts_with("out of order\n")));
}

#[test]
fn a_log_that_has_grown_large_is_set_aside() {
    let home = Home::new();
    let daemon = ScriptedDaemon::new(&home);
    fs::create_dir_all(home.log().parent().unwrap()).unwrap();
    fs::write(home.log(), vec![b'x'; 2 << 20]).unwrap();
    let mut shim = Running::start(home.shim().env("PYTHON_INTERPRETER_MCPD", daemon.program()));
    converse(&mut shim, "request\n");
    assert_eq!(fs::metadata(home.log()).unwrap().len(), 0);
    assert_eq!(fs::metadata(home.log().with_extension("log.1")).unwrap().len(), 2 << 20);
}

#[test]
fn ensure_listening_starts_the_owner_only_where_nobody_listens() {
    let home = Home::new();
    let daemon = ScriptedDaemon::new(&home);
    let owner = Owner { program: daemon.program(), arguments: vec!["interpreter".into()], unit: None, log: None };
    let path = home.runtime().join("interpreter.sock");
    assert!(endpoint::ensure_listening(&path, &owner).unwrap());
    assert!(!endpoint::ensure_listening(&path, &owner).unwrap());
    until("the start", || daemon.starts().len() == 1);
    assert_eq!(daemon.starts()[0]["arguments"], serde_json::json!(["interpreter"]));
    assert_eq!(daemon.starts()[0]["targets"][2], "/dev/null");
}

#[test]
fn a_lock_that_is_never_released_is_waited_for_only_so_long() {
    let home = Home::new();
    let path = home.socket();
    let held = fs::File::create(path.with_extension("lock")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let error = within("the deadline", move || endpoint::bind(&path).unwrap_err());
    assert!(matches!(error, EndpointError::LockHeld { seconds: 10, .. }), "{error}");
}

#[test]
fn a_listener_that_never_accepts_is_waited_for_only_so_long() {
    let home = Home::new();
    let listener = home.listen();
    // Listening again only changes the backlog; what it then holds is one connection more than it says.
    rustix::net::listen(&listener, 0).unwrap();
    let _queued = endpoint::connect(&home.socket()).unwrap().unwrap();
    let path = home.socket();
    let error = within("the deadline", move || endpoint::connect(&path).unwrap_err());
    assert!(error.to_string().contains("nobody accepted within 5 s"), "{error}");
    drop(listener);
}
