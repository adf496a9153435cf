//! The commands that look at a running daemon, and those that control it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use crate::support::daemon::{Daemon, Home};
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use crate::support::processes::signal;
use crate::support::until;
use serde_json::{Value, json};

fn run(home: &Home, arguments: &[&str]) -> Output {
    home.command().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn where_no_daemon_runs_none_is_started() {
    let home = Home::new();
    let output = run(&home, &["status"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), "No daemon runs; the next client starts it.\n"));
    assert_eq!(text(&run(&home, &["status", "--json"]).stdout), "null\n");
    assert!(text(&run(&home, &["reload"]).stderr).contains("no daemon runs"));
    assert_eq!(text(&run(&home, &["stop"]).stderr), "nothing runs\n");
    assert!(text(&run(&home, &["status", "--watch"]).stderr).contains("standard output is none"));
    assert!(home.processes().is_empty());
}

#[test]
fn clients_calls_and_the_interpreter_are_shown() {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    let mut client = daemon.connect();
    let parameters = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "ed\u{1b}[2Jitor", "version": "7.1"}});
    client.request("initialize", parameters);
    client.call("1");
    interpreter.answer_next(Answer::Json(json!({"stdout": "", "stderr": "", "exit_code": 3, "files": {}})));
    client.call("2");
    let output = run(daemon.home(), &["status"]);
    let shown = text(&output.stdout);
    assert!(output.status.success());
    let interpreter_line = format!("interpreter  {}: it is configured", interpreter.url());
    for line in [&interpreter_line, "calls        0 running, 0 waiting, 0 tasks; 2 have ended", "ed?[2Jitor  7.1"] {
        assert!(shown.lines().any(|shown| shown.starts_with(line)), "{line}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let recent: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("EXECUTION")).skip(1).collect();
    assert!(recent.len() == 2 && recent[0].contains("finished  3") && recent[1].contains("finished  0"), "{shown}");

    let status: Value = serde_json::from_slice(&run(daemon.home(), &["status", "--json"]).stdout).unwrap();
    assert_eq!((&status["clients"][0]["calls"], &status["process"]), (&json!(2), &json!(daemon.pid())));
    assert_eq!((&status["started_by"], &status["latency"]["executions"]), (&json!("systemd"), &json!(2)));
    // A client that has gone is not shown, what it ran is.
    drop(client);
    until("the client's leaving", || {
        let status: Value = serde_json::from_slice(&run(daemon.home(), &["status", "--json"]).stdout).unwrap();
        status["clients"] == json!([]) && status["recent"].as_array().unwrap().len() == 2
    });
}

#[test]
fn calls_that_were_given_up_or_refused_are_shown_as_what_they_are() {
    let interpreter = FakeInterpreter::start();
    let settings = [("PYTHON_INTERPRETER_MCP_URL", interpreter.url())];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let daemon = Daemon::start_with(&settings, &["--concurrency", "1", "--timeout", "2"]);
    let mut client = daemon.connect();
    interpreter.answer_next(Answer::Hold);
    client.send_call(1, "held");
    interpreter.wait_for_requests(1);
    client.cancel(1);
    interpreter.wait_for_ended(1);
    // One that takes all of its time keeps the next from its turn.
    interpreter.answer_next(Answer::Hold);
    let (mut first, mut second) = (daemon.connect(), daemon.connect());
    first.send_call(1, "held");
    interpreter.wait_for_requests(2);
    let arguments = json!({"source_code": "1", "timeout_seconds": 0.1});
    let refused = second.request("tools/call", json!({"name": "execute_python_code", "arguments": arguments}));
    assert!(refused["result"]["structuredContent"]["stderr"].as_str().unwrap().starts_with("Busy: "), "{refused}");
    let late = first.read_answer();
    let stderr = late["result"]["structuredContent"]["stderr"].as_str().unwrap();
    assert!(stderr.contains("the setting --timeout"), "{stderr}");
    interpreter.answer_next(Answer::Hold);
    let arguments = json!({"source_code": "1", "timeout_seconds": 0.1});
    let late = second.request("tools/call", json!({"name": "execute_python_code", "arguments": arguments}));
    let stderr = late["result"]["structuredContent"]["stderr"].as_str().unwrap();
    assert!(stderr.contains("the call's own timeout_seconds"), "{stderr}");
    let status: Value = serde_json::from_slice(&run(daemon.home(), &["status", "--json"]).stdout).unwrap();
    let outcomes: Vec<_> = status["recent"].as_array().unwrap().iter().map(|ended| &ended["outcome"]).collect();
    assert_eq!(outcomes, ["timed_out", "timed_out", "refused", "cancelled"]);
    assert_eq!(status["executions"], 3, "what was refused never ran");
}

#[test]
fn reload_tells_of_a_mistake_and_then_changes_nothing() {
    let daemon = Daemon::start(&FakeInterpreter::start());
    let path = daemon.home().path().join(".config/python-interpreter-mcp/config.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "drain = 5000000000").unwrap();
    let output = run(daemon.home(), &["reload"]);
    assert!(
        text(&output.stderr).contains(&format!("{}:1: drain = 5000000000 is refused", path.display())),
        "{output:?}"
    );
    assert!(!daemon.stderr().contains("settings"));
    fs::write(&path, "drain = 5").unwrap();
    assert!(run(daemon.home(), &["reload"]).status.success());
    until("the settings", || daemon.stderr().contains("the settings were read again"));
}

#[test]
fn stop_ends_daemon_and_interpreter_and_what_runs_is_answered() {
    let home = Home::new();
    assert!(run(&home, &["exec", "print(1)"]).status.success());
    let mut running = home.command();
    let program = "import time; print('begun', flush=True); time.sleep(1.5); print('ended')";
    let mut running = running.args(["exec", program]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(running.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n", "it comes before the program has ended");
    assert!(run(&home, &["stop"]).status.success());
    output.read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), running.wait().unwrap().code()), ("begun\nended\n", Some(0)));
    until("nobody runs", || home.processes().is_empty());
}

#[test]
fn stop_removes_the_socket_of_a_daemon_that_was_killed() {
    let interpreter = FakeInterpreter::start();
    let mut daemon = Daemon::start(&interpreter);
    signal(daemon.pid(), rustix::process::Signal::KILL);
    daemon.wait();
    assert!(daemon.home().socket().exists());
    let output = run(daemon.home(), &["stop"]);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("mcp.sock, which a killed process had left behind"), "{output:?}");
    assert!(!daemon.home().socket().exists());
}

#[test]
fn logs_are_shown_and_followed() {
    let home = Home::new();
    let output = run(&home, &["logs"]);
    assert!(!output.status.success() && text(&output.stderr).contains("nothing has been logged yet"), "{output:?}");
    assert!(run(&home, &["exec", "1"]).status.success());
    let output = run(&home, &["logs", "-n", "2"]);
    assert!(text(&output.stdout).contains("execution ended"), "{output:?}");
    assert!(!text(&output.stdout).contains(" serving "), "two lines of each");
    let mut follow = home.command();
    let mut follow = follow.args(["logs", "--follow", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut lines_with = |text: &str| lines.by_ref().any(|line| line.unwrap().contains(text));
    assert!(lines_with("execution ended"));
    assert!(run(&home, &["exec", "2"]).status.success());
    assert!(lines_with("execution ended"));
    follow.kill().unwrap();
    follow.wait().unwrap();
}
