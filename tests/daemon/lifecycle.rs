//! How the daemon begins and ends: its socket, who it belongs to, stopping in order, and leaving when nobody is
//! there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Home, Session};
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use crate::support::processes::signal;
use crate::support::until;
use rustix::process::Signal;
use serde_json::json;

fn world() -> (FakeInterpreter, Daemon) {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    (interpreter, daemon)
}

/// Starts the daemon as a shim does: with a listening socket at fd 3, in the background.
fn start_in_background(home: &Home, listener: UnixListener, arguments: &[&str], environment: &[(&str, &str)]) {
    let announce = r#"exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@""#;
    let program = home.command().get_program().to_owned();
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(home.command().get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.envs(environment.iter().copied());
    command.arg("-c").arg(announce).arg(program).args(["serve", "--background"]).args(arguments);
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
    let mut child = command.stderr(fs::File::create(home.path().join("stderr")).unwrap()).spawn().unwrap();
    std::thread::spawn(move || child.wait());
}

fn listener(home: &Home) -> UnixListener {
    fs::create_dir(home.path().join("python-interpreter-mcp")).unwrap();
    fs::set_permissions(home.path().join("python-interpreter-mcp"), fs::Permissions::from_mode(0o700)).unwrap();
    UnixListener::bind(home.socket()).unwrap()
}

#[test]
fn its_socket_is_for_this_user_alone_and_gone_after_the_end() {
    let (_interpreter, mut daemon) = world();
    let socket = daemon.home().socket();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    daemon.terminate();
    assert!(daemon.wait().success());
    assert!(!socket.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_served_one_is_not() {
    let home = Home::new();
    drop(listener(&home));
    let (_interpreter, daemon) = world();
    let output = daemon.home().command().arg("serve").output().unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("already served"), "{stderr}");
    daemon.connect().call("the first goes on");

    let mut child = home.command().arg("serve").stderr(Stdio::null()).spawn().unwrap();
    until("a connection to the new daemon", || std::os::unix::net::UnixStream::connect(home.socket()).is_ok());
    assert!(Session::open(home.socket()).request("tools/list", json!({}))["result"].is_object());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_socket_path_that_is_a_file_or_a_link_is_refused_with_the_reason() {
    for (make, said) in [
        ((|path| fs::write(path, "mine").unwrap()) as fn(&std::path::Path), "is not a socket"),
        (|path| std::os::unix::fs::symlink("/tmp/elsewhere", path).unwrap(), "symbolic link"),
    ] {
        let home = Home::new();
        drop(listener(&home));
        fs::remove_file(home.socket()).unwrap();
        make(&home.socket());
        let output = home.command().arg("serve").output().unwrap();
        assert!(!output.status.success());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(said), "{stderr}");
        assert!(fs::symlink_metadata(home.socket()).is_ok());
    }
}

#[test]
fn an_inherited_descriptor_that_is_no_listener_is_refused() {
    let home = Home::new();
    let (end, _other_end) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = Command::new("/bin/sh");
    let announce = r#"exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@""#;
    command.arg("-c").arg(announce).arg(home.command().get_program()).arg("serve");
    let output = command.env("XDG_RUNTIME_DIR", home.path()).stdin(Stdio::from(std::os::fd::OwnedFd::from(end)));
    let output = output.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && stderr.contains("not a listening Unix stream socket"), "{stderr}");
}

#[test]
fn a_request_to_stop_lets_the_running_call_end() {
    let (interpreter, mut daemon) = world();
    let mut session = daemon.connect();
    let mut idle = daemon.connect();
    idle.call("1");
    interpreter.answer_next(Answer::Hold);
    session.send_call(1, "runs on");
    interpreter.wait_for_requests(2);
    daemon.terminate();
    assert!(idle.read_to_end().is_empty());
    until("the socket is gone", || !daemon.home().socket().exists());
    interpreter.release();
    let answers = session.read_to_end();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["result"]["structuredContent"]["stdout"], "released");
    assert!(daemon.wait().success());
    let stderr = daemon.stderr();
    let end = stderr.lines().last().unwrap();
    assert!(end.contains("stopped") && end.contains("cancelled=0"), "{end}");
}

#[test]
fn a_call_of_a_service_that_outlasts_the_deadline_of_a_stop_is_given_up() {
    let interpreter = FakeInterpreter::start();
    let mut daemon = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_URL", &interpreter.url())], &["--drain", "1"]);
    let mut session = daemon.connect();
    interpreter.answer_next(Answer::Hold);
    session.send_call(1, "never ends");
    interpreter.wait_for_requests(1);
    // Another client asks for answers that it never reads: it cannot hold the end up either.
    let mut lazy = daemon.connect();
    let text = "x".repeat(2 << 20);
    for id in 0..4 {
        interpreter.answer_next(Answer::stdout(&text));
        lazy.send_call(id, "large");
    }
    interpreter.wait_for_requests(5);
    signal(daemon.pid(), Signal::INT);
    interpreter.wait_for_ended(1);
    let answers = session.read_to_end();
    let stderr = answers[0]["result"]["structuredContent"]["stderr"].as_str().unwrap();
    assert!(
        answers.len() == 1 && stderr.contains("daemon was stopped") && stderr.contains("may or may not"),
        "{answers:?}"
    );
    assert!(daemon.wait().success());
    let stderr = daemon.stderr();
    assert!(stderr.lines().last().unwrap().contains("cancelled=2"), "{stderr}");
}

#[test]
fn what_outlasts_the_deadline_of_a_stop_is_ended_and_answered_with_what_it_printed() {
    let mut daemon = Daemon::start_with(&[], &["--drain", "1", "--concurrency", "2", "--task-after", "1"]);
    daemon.connect().call("1");
    let mut session = daemon.connect();
    let endless = "import time; print('so far', flush=True); time.sleep(600)";
    let mut call = session.call_message(json!("call"), endless);
    call["params"]["_meta"]["progressToken"] = json!("progress");
    session.send(&call);
    let mut modern = daemon.connect();
    let tasks = |mut message: serde_json::Value| {
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"] =
            json!({"io.modelcontextprotocol/tasks": {}});
        message
    };
    modern.send(&tasks(modern.call_message(json!("task"), endless)));
    let task = modern.read_answer()["result"]["taskId"].as_str().unwrap().to_owned();
    // Both have printed.
    until("the task has printed", || {
        modern.send(&tasks(modern.message(json!("t"), "tasks/get", json!({ "taskId": task }))));
        modern.read_answer()["result"]["statusMessage"] == "so far"
    });
    while session.read()["params"]["message"] != "so far" {}
    session.send_call("waits", "print('never')");
    session.send(&json!({"jsonrpc": "2.0", "id": "last", "method": "ping"}));
    assert_eq!(session.read_answer()["id"], "last");
    daemon.terminate();
    let answers = session.read_to_end();
    assert!(daemon.wait().success());
    let result = |id: &str| &answers.iter().find(|answer| answer["id"] == id).unwrap()["result"]["structuredContent"];
    assert_eq!((&result("call")["stdout"], &result("call")["exit_code"]), (&json!("so far\n"), &json!(137)));
    let stderr = |id: &str| result(id)["stderr"].as_str().unwrap();
    assert!(stderr("call").contains("Killed: the interpreter was stopped while the program ran"), "{answers:?}");
    assert!(stderr("waits").contains("was not run"), "{answers:?}");
    let records = daemon.home().path().join(".local/state/python-interpreter-mcp/tasks");
    // The record and the result.
    let files = fs::read_dir(&records).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let files: Vec<_> = files.collect();
    let is_there = |words: [&str; 2]| files.iter().any(|file| words.iter().all(|word| file.contains(word)));
    assert!(is_there([&task, "completed"]) && is_there(["so far", r#""exit_code":137"#]), "{files:?}");
}

#[test]
fn a_daemon_that_a_client_started_leaves_when_nobody_is_there() {
    let home = Home::new();
    let interpreter = FakeInterpreter::start();
    let listener = listener(&home);
    // This client is there before the daemon.
    let mut session = Session::open(home.socket());
    let environment = [("PYTHON_INTERPRETER_MCP_URL", interpreter.url())];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    start_in_background(&home, listener, &["--idle-exit", "1"], &environment);
    session.call("1");
    interpreter.answer_next(Answer::Hold);
    session.send_call(9, "longer than the idle time");
    interpreter.wait_for_requests(2);
    let called = Instant::now();
    while called.elapsed() < Duration::from_millis(1500) {
        // The time itself is what is tested: a call holds the daemon for longer than the idle time.
        assert!(home.socket().exists());
        std::thread::sleep(Duration::from_millis(50));
    }
    interpreter.release();
    assert_eq!(session.read()["id"], 9);
    drop(session);
    until("the socket is gone", || !home.socket().exists());
    until("the daemon is gone", || home.processes().is_empty());
    let stderr = fs::read_to_string(home.path().join("stderr")).unwrap();
    assert!(stderr.lines().last().unwrap().contains("leaving"), "{stderr}");
}

#[test]
fn a_client_that_connected_just_before_it_leaves_is_served() {
    let interpreter = FakeInterpreter::start();
    let environment = [("PYTHON_INTERPRETER_MCP_URL", interpreter.url())];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // Ten of them, because a daemon that has a reason to leave and one to stay may by chance look at the right one first.
    let homes: Vec<_> = (0..10).map(|_| Home::new()).collect();
    for home in &homes {
        start_in_background(home, listener(home), &["--idle-exit", "1"], &environment);
        let log = home.path().join("stderr");
        until("a daemon that serves", || fs::read_to_string(&log).unwrap().contains("serving"));
        signal(home.processes()[0], Signal::STOP);
    }
    let sessions: Vec<_> = homes.iter().map(|home| Session::open(home.socket())).collect();
    // They stand still until their time is over; that is the one thing that no event tells.
    std::thread::sleep(Duration::from_millis(1100));
    for (home, mut session) in homes.iter().zip(sessions) {
        signal(home.processes()[0], Signal::CONT);
        session.call("1");
        drop(session);
        until("the daemon is gone", || home.processes().is_empty());
        assert!(!home.socket().exists());
    }
    assert_eq!(interpreter.requests().len(), 10);
}

#[test]
fn a_socket_that_systemd_passed_on_stays() {
    let home = Home::new();
    let interpreter = FakeInterpreter::start();
    let url = interpreter.url();
    let environment = [("PYTHON_INTERPRETER_MCP_URL", url.as_str()), ("LISTEN_FDNAMES", "mcp.socket")];
    start_in_background(&home, listener(&home), &[], &environment);
    Session::open(home.socket()).call("1");
    for pid in home.processes() {
        signal(pid, Signal::TERM);
    }
    until("the daemon is gone", || home.processes().is_empty());
    assert!(home.socket().exists());
}

#[test]
fn a_lock_that_somebody_holds_delays_no_stop() {
    let interpreter = FakeInterpreter::start();
    let mut daemon = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_URL", &interpreter.url())], &["--drain", "1"]);
    let lock = fs::File::open(daemon.home().socket().with_extension("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let asked = Instant::now();
    daemon.terminate();
    assert!(daemon.wait().success());
    // The lock's own deadline is 10 s.
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
}
