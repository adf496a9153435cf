//! A client that floods, or does not read, costs the others nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::daemon::{Daemon, Session};
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use crate::support::until;
use serde_json::{Value, json};

const FLOOD: usize = 100_000;

const FLAT_KILOBYTES: u64 = 20 * 1024;

fn world() -> (FakeInterpreter, Daemon) {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    (interpreter, daemon)
}

/// Writes as much as the daemon takes until it is told to stop. Returns how many lines were taken.
fn flood(mut session: Session, line: impl Fn(usize) -> Value, stop: &AtomicBool) -> (Session, usize) {
    session.set_write_patience(std::time::Duration::from_millis(50));
    let mut taken = 0;
    for number in 0..FLOOD {
        let bytes = format!("{}\n", line(number));
        let mut rest = bytes.as_bytes();
        while !rest.is_empty() {
            match session.write_some(rest) {
                Some(written) => rest = &rest[written..],
                None if stop.load(Ordering::Relaxed) => return (session, taken),
                None => {}
            }
        }
        taken += 1;
    }
    (session, taken)
}

#[test]
fn a_flood_of_requests_that_nobody_reads_leaves_memory_flat_and_others_answered() {
    let (interpreter, daemon) = world();
    let mut other = daemon.connect();
    other.call("warm up");
    let before = daemon.resident_kilobytes();
    daemon.reset_peak();
    let stop = AtomicBool::new(false);
    let template = other.message(json!(0), "tools/list", json!({}));
    let flooding = daemon.connect();
    let (mut flooding, taken) = thread::scope(|scope| {
        let stop = &stop;
        let line = move |number: usize| {
            let mut line = template.clone();
            line["id"] = json!(number);
            line
        };
        let flooder = scope.spawn(move || flood(flooding, line, stop));
        for _ in 0..500 {
            other.call("1");
        }
        stop.store(true, Ordering::Relaxed);
        flooder.join().unwrap()
    });
    assert!(taken < FLOOD, "the daemon took all of the flood");
    let peak = daemon.peak_kilobytes().saturating_sub(before);
    assert!(peak < FLAT_KILOBYTES, "{peak} kB more");
    // Whatever was taken is answered once it is read, each once.
    let mut answered: Vec<u64> = (0..taken).map(|_| flooding.read()["id"].as_u64().unwrap()).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..taken as u64));
    assert_eq!(interpreter.requests().len(), 501);
    println!("flood of lists: {taken} taken, {peak} kB more at the peak");
}

#[test]
fn a_flood_of_calls_runs_a_bounded_number_at_once() {
    let (interpreter, daemon) = world();
    let mut other = daemon.connect();
    for _ in 0..33 {
        interpreter.answer_next(Answer::Hold);
    }
    let before = daemon.resident_kilobytes();
    daemon.reset_peak();
    let stop = AtomicBool::new(false);
    let template = other.call_message(json!(0), "1");
    let flooding = daemon.connect();
    let (mut flooding, taken) = thread::scope(|scope| {
        let stop = &stop;
        let line = move |number: usize| {
            let mut line = template.clone();
            line["id"] = json!(number);
            line
        };
        let flooder = scope.spawn(move || flood(flooding, line, stop));
        interpreter.wait_for_requests(32);
        // This client's call gets the last answer that is held back: it did not have to wait for the flood.
        other.send_call(1, "other");
        let requests = interpreter.wait_for_requests(33);
        assert_eq!(requests[32].source_code(), "other");
        stop.store(true, Ordering::Relaxed);
        flooder.join().unwrap()
    });
    assert_eq!(interpreter.requests().len(), 33);
    let peak = daemon.peak_kilobytes().saturating_sub(before);
    assert!(peak < FLAT_KILOBYTES, "{peak} kB more");
    interpreter.release();
    assert_eq!(other.read()["id"], 1);
    let mut answered: Vec<_> = (0..taken).map(|_| flooding.read()["id"].as_u64().unwrap()).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..taken as u64));
    println!("flood of calls: {taken} taken, {peak} kB more at the peak");
}

#[test]
fn large_answers_that_nobody_reads_hold_up_nobody_else() {
    let (interpreter, daemon) = world();
    let text = "x".repeat(2 << 20);
    let mut lazy = daemon.connect();
    for id in 0..8 {
        interpreter.answer_next(Answer::stdout(&text));
        lazy.send_call(id, "large");
    }
    interpreter.wait_for_requests(8);
    let mut other = daemon.connect();
    for _ in 0..100 {
        other.call("1");
    }
    let mut answered: Vec<_> = (0..8).map(|_| lazy.read()["id"].as_u64().unwrap()).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..8));
}

#[test]
fn answers_that_nobody_reads_take_no_more_memory_than_they_may_and_each_request_has_one() {
    const CALLS: u64 = 16;
    let (interpreter, daemon) = world();
    let text = "x".repeat(5 << 20);
    let mut lazy = daemon.connect();
    lazy.call("warm up");
    for id in 0..CALLS {
        interpreter.answer_next(Answer::stdout(&text));
        let mut message = lazy.call_message(json!(id), "large");
        message["params"]["_meta"]["python-interpreter-mcp/outputCharacters"] = json!(16 << 20);
        lazy.send(&message);
    }
    interpreter.wait_for_requests(CALLS as usize + 1);
    until("all calls have ended", || {
        let status = daemon.home().command().args(["status", "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&status.stdout).is_ok_and(|status| status["executions"] == CALLS + 1)
    });
    let answers: Vec<Value> = (0..CALLS).map(|_| lazy.read_answer()).collect();
    let ids: BTreeSet<u64> = answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    assert!(ids.into_iter().eq(0..CALLS));
    let dropped: Vec<_> = answers.iter().filter_map(|answer| answer["error"]["message"].as_str()).collect();
    assert!(dropped.iter().all(|message| message.contains("was dropped")), "{dropped:?}");
    assert!(!dropped.is_empty() && dropped.len() < CALLS as usize, "{} of {CALLS} were dropped", dropped.len());
    // Text and structured content are ten MiB a call, of which 64 may wait.
    assert!(CALLS as usize - dropped.len() <= 8, "only {} of {CALLS} were dropped", dropped.len());
    lazy.call("and it goes on");
}

#[test]
fn the_memory_of_large_answers_is_given_back() {
    let (interpreter, daemon) = world();
    daemon.connect().call("warm up");
    let before = daemon.resident_kilobytes();
    daemon.reset_peak();
    let text = "x".repeat(16_000_000);
    let mut sessions: Vec<_> = (0..4).map(|_| daemon.connect()).collect();
    for id in 1..=4 {
        for session in &mut sessions {
            interpreter.answer_next(Answer::stdout(&text));
            session.send_call(id, "1");
        }
    }
    for session in &mut sessions {
        for _ in 0..4 {
            assert_eq!(session.read()["result"]["structuredContent"]["exit_code"], 0);
        }
    }
    let peak = daemon.peak_kilobytes().saturating_sub(before);
    assert!(peak > 4 * FLAT_KILOBYTES, "the answers took only {peak} kB");
    until("memory that is given back", || daemon.resident_kilobytes().saturating_sub(before) < FLAT_KILOBYTES);
}

#[test]
fn a_client_that_cancels_and_never_reads_does_not_fill_the_memory() {
    let (interpreter, daemon) = world();
    let text = "x".repeat(20_000);
    let mut session = daemon.connect();
    session.call("1");
    let before = daemon.resident_kilobytes();
    daemon.reset_peak();
    for round in 0..30_u64 {
        let asked = interpreter.requests().len();
        for id in 0..20 {
            interpreter.answer_next(Answer::stdout(&text));
            session.send_call(1000 * round + id, "1");
        }
        interpreter.wait_for_requests(asked + 20);
        for id in 0..20 {
            session.cancel(1000 * round + id);
        }
    }
    let peak = daemon.peak_kilobytes().saturating_sub(before);
    // All of the answers are 36 MB, and more as JSON.
    assert!(peak < FLAT_KILOBYTES, "{peak} kB more");
    assert_eq!(daemon.connect().call("1")["structuredContent"]["exit_code"], 0);
}
