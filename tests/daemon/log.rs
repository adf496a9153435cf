//! The daemon's log: what is not in it, how large it gets, and what happens where nobody reads it.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

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

fn listener(home: &Home) -> UnixListener {
    fs::create_dir(home.path().join("python-interpreter-mcp")).unwrap();
    fs::set_permissions(home.path().join("python-interpreter-mcp"), fs::Permissions::from_mode(0o700)).unwrap();
    UnixListener::bind(home.socket()).unwrap()
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
    until("a shorter log", || fs::metadata(&log).unwrap().len() < 1 << 20);
    let mut text = String::new();
    until("the line of the call", || {
        text.clear();
        fs::File::open(&log).unwrap().read_to_string(&mut text).unwrap();
        text.contains("execution ended")
    });
    assert!(!text.contains('\u{1b}') && !text.contains('\0'));
    child.kill().unwrap();
    child.wait().unwrap();
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
    until("the socket", || home.socket().exists() && Session::try_open(home.socket()).is_ok());
    let mut session = Session::open(home.socket());
    for _ in 0..300 {
        session.call("1");
    }
    signal(child.id(), Signal::TERM);
    let mut status = None;
    until("the daemon's end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success());
    drop(reader);
}
