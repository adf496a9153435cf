//! A client that dies ends its own runs and nobody else's; one that only stops writing still gets its answers.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use serde_json::json;

fn world() -> (FakeInterpreter, Daemon) {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    (interpreter, daemon)
}

#[test]
fn a_client_that_dies_in_a_call_ends_its_run_at_once_and_nobody_else_s() {
    let after = || {
        let (interpreter, daemon) = world();
        let (mut dying, mut other) = (daemon.connect(), daemon.connect());
        interpreter.answer_next(Answer::Hold);
        other.send_call(1, "goes on");
        interpreter.wait_for_requests(1);
        interpreter.answer_next(Answer::Hold);
        dying.send_call(1, "dies");
        interpreter.wait_for_requests(2);
        let started = Instant::now();
        drop(dying);
        interpreter.wait_for_ended(1);
        let passed = started.elapsed();
        assert_eq!(interpreter.ended(), 1);
        interpreter.release();
        assert_eq!(other.read()["result"]["structuredContent"]["stdout"], "released");
        passed
    };
    // Shorter than the grace of a half-closed client. On a busy machine one of several tries shows it.
    let tries: Vec<Duration> = (0..5).map(|_| after()).collect();
    assert!(tries.iter().any(|passed| *passed < Duration::from_millis(900)), "{tries:?}");
}

#[test]
fn a_client_that_dies_while_its_calls_wait_is_noticed() {
    let (interpreter, daemon) = world();
    let mut dying = daemon.connect();
    for _ in 0..32 {
        interpreter.answer_next(Answer::Hold);
    }
    // As many as are read ahead, and one: from now on nothing is read.
    for id in 0..32 + 64 + 1 {
        dying.send_call(id, "1");
    }
    interpreter.wait_for_requests(32);
    drop(dying);
    interpreter.wait_for_ended(32);
    daemon.connect().call("1");
    assert_eq!(interpreter.requests().len(), 33);
}

#[test]
fn a_client_that_only_stops_writing_still_gets_its_answers() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    interpreter.answer_next(Answer::Hold);
    session.send_call(1, "1");
    interpreter.wait_for_requests(1);
    session.finish_writing();
    interpreter.release();
    let messages = session.read_to_end();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["result"]["structuredContent"]["stdout"], "released");
}

#[test]
fn a_client_that_only_stops_writing_waits_as_long_as_its_call_takes() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    let filter = json!({"notifications": {"toolsListChanged": true}});
    session.send(&session.message(json!("watch"), "subscriptions/listen", filter));
    assert_eq!(session.read()["method"], "notifications/subscriptions/acknowledged");
    interpreter.answer_next(Answer::Hold);
    session.send_call(1, "1");
    interpreter.wait_for_requests(1);
    session.finish_writing();
    assert_eq!(session.read()["id"], "watch", "a subscription ends with its client's last word");
    // Longer than any time that a client had before.
    thread::sleep(std::time::Duration::from_millis(1500));
    interpreter.release();
    let messages = session.read_to_end();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0]["result"]["structuredContent"]["stdout"], "released");
}

#[test]
fn a_client_that_stops_writing_and_then_dies_ends_its_run() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    interpreter.answer_next(Answer::Hold);
    session.send_call(1, "1");
    interpreter.wait_for_requests(1);
    session.finish_writing();
    drop(session);
    interpreter.wait_for_ended(1);
}
