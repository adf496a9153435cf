//! How the daemon begins and ends: its socket, who it belongs to, stopping in order, and leaving when nobody is there. And
//! which interpreter it takes when none is configured.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "in a test a panic is the report")]

mod support;

use std::fs;
use std::io::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use support::daemon::{Daemon, Home, Session, signal};
use support::eventually;
use support::fake_interpreter::{Answer, FakeInterpreter};

/// Whoever uses port 50081 in this file.
static DETECTED_PORT: Mutex<()> = Mutex::new(());
const DETECTED_ADDRESS: &str = "127.0.0.1:50081";

/// The port for this test alone; None where a service of this machine has it, and that is said.
fn detected_port() -> Option<MutexGuard<'static, ()>> {
    let port = DETECTED_PORT.lock().unwrap_or_else(PoisonError::into_inner);
    let deadline = Instant::now() + Duration::from_secs(5);
    // A process that another test has just forked has that test's listener until it becomes another program.
    while TcpListener::bind(DETECTED_ADDRESS).is_err() {
        if Instant::now() > deadline {
            drop(writeln!(std::io::stderr(), "passed over: something on this machine listens on {DETECTED_ADDRESS}"));
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(port)
}

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
    eventually("a connection to the new daemon", || std::os::unix::net::UnixStream::connect(home.socket()).is_ok());
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
    eventually("the socket is gone", || !daemon.home().socket().exists());
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
fn a_call_that_outlasts_the_deadline_of_a_stop_is_cancelled() {
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
    assert!(session.read_to_end().is_empty());
    assert!(daemon.wait().success());
    let stderr = daemon.stderr();
    assert!(stderr.lines().last().unwrap().contains("cancelled=2"), "{stderr}");
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
    eventually("the socket is gone", || !home.socket().exists());
    eventually("the daemon is gone", || home.processes().is_empty());
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
        eventually("a daemon that serves", || fs::read_to_string(&log).unwrap().contains("serving"));
        signal(home.processes()[0], Signal::STOP);
    }
    let sessions: Vec<_> = homes.iter().map(|home| Session::open(home.socket())).collect();
    // They stand still until their time is over; that is the one thing that no event tells.
    std::thread::sleep(Duration::from_millis(1100));
    for (home, mut session) in homes.iter().zip(sessions) {
        signal(home.processes()[0], Signal::CONT);
        session.call("1");
        drop(session);
        eventually("the daemon is gone", || home.processes().is_empty());
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
    eventually("the daemon is gone", || home.processes().is_empty());
    assert!(home.socket().exists());
}

#[test]
fn a_log_that_is_a_file_is_kept_within_its_bound() {
    let home = Home::new();
    let interpreter = FakeInterpreter::start();
    let url = interpreter.url();
    let log = home.path().join("stderr");
    let listener = listener(&home);
    let environment = [("PYTHON_INTERPRETER_MCP_URL", url.as_str())];
    fs::write(&log, vec![b'x'; 9 << 20]).unwrap();
    let announce = r#"exec 3<&0 </dev/null 2>>"$LOG"; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@""#;
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(home.command().get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.envs(environment).env("LOG", &log);
    command.arg("-c").arg(announce).arg(home.command().get_program()).args(["serve", "--background"]);
    let mut child = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener))).spawn().unwrap();
    Session::open(home.socket()).call("1");
    eventually("a shorter log", || fs::metadata(&log).unwrap().len() < 1 << 20);
    let mut text = String::new();
    eventually("the line of the call", || {
        text.clear();
        fs::File::open(&log).unwrap().read_to_string(&mut text).unwrap();
        text.contains("execution ended")
    });
    assert!(!text.contains('\u{1b}') && !text.contains('\0'));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_service_on_port_50081_is_used_where_none_is_configured() {
    let Some(_port) = detected_port() else { return };
    let service = FakeInterpreter::start_at(DETECTED_ADDRESS.parse().unwrap());
    let daemon = Daemon::start_with(&[], &[]);
    let mut session = daemon.connect();
    service.answer_next(Answer::stdout("from the service"));
    let result = session.call("1");
    assert_eq!(result["structuredContent"]["stdout"], "from the service");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], "http://localhost:50081");
    assert!(service.requests()[0].head.contains("\r\nhost: localhost:50081\r\n"));
    eventually("the choice is logged", || daemon.stderr().contains("interpreter chosen"));
}

#[test]
fn a_service_that_went_away_is_replaced_by_the_embedded_interpreter_without_losing_the_call() {
    let Some(_port) = detected_port() else { return };
    let service = FakeInterpreter::start_at(DETECTED_ADDRESS.parse().unwrap());
    let daemon = Daemon::start_with(&[], &[]);
    let mut session = daemon.connect();
    session.call("1");
    drop(service);
    // Within the time for which the choice holds.
    let result = session.call("print('embedded')");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], "embedded", "{result}");
}

#[test]
fn a_service_that_drops_the_call_is_not_replaced() {
    let Some(_port) = detected_port() else { return };
    let service = FakeInterpreter::start_at(DETECTED_ADDRESS.parse().unwrap());
    let daemon = Daemon::start_with(&[], &[]);
    service.answer_next(Answer::Drop);
    let result = daemon.connect().call("1");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], "http://localhost:50081");
    assert_eq!((&result["isError"], service.requests().len()), (&json!(true), 1));
}

/// Answers whatever it is asked as a service would, and prints what it was asked.
const FORGER: &str = r#"
import json, socketserver, sys
class Forger(socketserver.StreamRequestHandler):
    def handle(self):
        head, length = b"", 0
        while (line := self.rfile.readline()).strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        print(self.rfile.read(length), flush=True)
        body = json.dumps({"stdout": "forged", "stderr": "", "exit_code": 0, "files": {}}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
socketserver.TCPServer.allow_reuse_address = True
server = socketserver.TCPServer(("127.0.0.1", 50081), Forger)
print("listening", flush=True)
server.serve_forever()
"#;

#[test]
fn another_user_who_takes_the_port_over_gets_no_program_and_forges_no_answer() {
    if !rustix::process::geteuid().is_root() {
        return drop(writeln!(std::io::stderr(), "passed over: another user's process takes root"));
    }
    let Some(_port) = detected_port() else { return };
    let service = FakeInterpreter::start_at(DETECTED_ADDRESS.parse().unwrap());
    let daemon = Daemon::start_with(&[], &[]);
    let mut session = daemon.connect();
    session.call("1");
    drop(service);
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", FORGER]).current_dir("/").uid(54_321).gid(54_321).stdout(Stdio::piped());
    let mut forger = command.spawn().unwrap();
    let mut said = BufReader::new(forger.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().unwrap(), "listening");
    // Within the time for which it is remembered that the port was this user's.
    let result = session.call("print('embedded')");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], "embedded", "{result}");
    assert_ne!(result["structuredContent"]["stdout"], "forged");
    // Who connects without asking is answered.
    let url = format!("http://{DETECTED_ADDRESS}");
    let trusting = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_URL", &url)], &[]);
    assert_eq!(trusting.connect().call("twin = 1")["structuredContent"]["stdout"], "forged");
    // The connection that was refused brought nothing.
    let asked: Vec<String> = said.by_ref().take(2).collect();
    forger.kill().unwrap();
    forger.wait().unwrap();
    assert!(asked[0] == "b''" && asked[1].contains("twin = 1"), "{asked:?}");
}

#[test]
fn a_configured_service_that_is_gone_is_never_replaced() {
    let url = FakeInterpreter::start().url();
    let daemon = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_URL", &url)], &[]);
    let result = daemon.connect().call("1");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], url);
    assert_eq!(result["isError"], true);
}

#[test]
fn user_code_and_output_are_not_logged() {
    let (interpreter, mut daemon) = world();
    let mut session = daemon.connect();
    interpreter.answer_next(Answer::stdout("SECRET OUTPUT"));
    session.call("SECRET CODE");
    for body in [r#"{"stdout": 1, "stderr": "SECRET ERROR", "exit_code": "SECRET"}"#, "SECRET PAGE"] {
        interpreter.answer_next(Answer::status("200 OK", body.as_bytes()));
        session.call("SECRET CODE");
        interpreter.answer_next(Answer::status("500 Oops", body.as_bytes()));
        session.call("SECRET CODE");
    }
    session.send_call(json!(null), "SECRET CODE");
    session.read();
    daemon.terminate();
    daemon.wait();
    assert!(daemon.stderr().contains("execution ended"));
    assert!(!daemon.stderr().contains("SECRET"), "{}", daemon.stderr());
}

#[test]
fn a_stderr_that_nobody_reads_keeps_no_client_waiting_and_no_stop() {
    let interpreter = FakeInterpreter::start();
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    // The smallest that a pipe can be: full after some forty lines.
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut command = home.command();
    command.arg("serve").env("PYTHON_INTERPRETER_MCP_URL", interpreter.url()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    eventually("the socket", || home.socket().exists() && Session::try_open(home.socket()).is_ok());
    let mut session = Session::open(home.socket());
    for _ in 0..300 {
        session.call("1");
    }
    signal(child.id().try_into().unwrap(), Signal::TERM);
    let mut status = None;
    eventually("the daemon's end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success());
    drop(reader);
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
