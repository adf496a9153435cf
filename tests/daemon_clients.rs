//! Clients and each other: one that floods, does not read, or dies, costs the others nothing.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "in a test a panic is the report")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use support::daemon::{Daemon, Session};
use support::eventually;
use support::fake_interpreter::{Answer, FakeInterpreter};

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
fn cancellations_and_pings_get_past_calls_that_wait() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    session.initialize("2025-06-18");
    for _ in 0..32 {
        interpreter.answer_next(Answer::Hold);
    }
    for id in 0..42 {
        session.send_call(id, &format!("call {id}"));
    }
    interpreter.wait_for_requests(32);
    session.send(&session.message(json!("p"), "ping", json!({})));
    assert_eq!(session.read()["id"], "p");
    // One that waits, and one that runs and makes room for the next that waits.
    session.cancel(32);
    session.cancel(0);
    interpreter.wait_for_ended(1);
    assert_eq!(interpreter.wait_for_requests(33)[32].source_code(), "call 33");
    interpreter.release();
    let mut answered: Vec<_> = (0..40).map(|_| session.read()["id"].as_u64().unwrap()).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq((1..32).chain(33..42)));
    assert!(interpreter.requests().iter().all(|request| request.source_code() != "call 32"));
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
    eventually("all calls have ended", || {
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
fn a_client_that_dies_in_a_call_ends_its_run_at_once_and_nobody_else_s() {
    let (interpreter, daemon) = world();
    let (mut dying, mut other) = (daemon.connect(), daemon.connect());
    interpreter.answer_next(Answer::Hold);
    other.send_call(1, "goes on");
    interpreter.wait_for_requests(1);
    interpreter.answer_next(Answer::Hold);
    dying.send_call(1, "dies");
    interpreter.wait_for_requests(2);
    let started = std::time::Instant::now();
    drop(dying);
    interpreter.wait_for_ended(1);
    let passed = started.elapsed();
    assert!(passed < std::time::Duration::from_millis(900), "not before the grace of a half-closed client: {passed:?}");
    assert_eq!(interpreter.ended(), 1);
    interpreter.release();
    assert_eq!(other.read()["result"]["structuredContent"]["stdout"], "released");
    println!("hang-up to the end of the run: {passed:?}");
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

#[test]
fn open_subscriptions_are_bounded_and_block_nothing_else() {
    let (_interpreter, daemon) = world();
    let mut session = daemon.connect();
    let listen = |session: &Session, id: u32| {
        session.message(json!(id), "subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}))
    };
    for id in 100..140 {
        session.send(&listen(&session, id));
    }
    let mut refused = Vec::new();
    while refused.len() < 32 {
        let message = session.read();
        if message.get("method").is_none() {
            assert!(message["error"]["message"].as_str().unwrap().contains("open subscriptions"), "{message}");
            refused.push(message["id"].as_u64().unwrap());
        }
    }
    assert!(refused.into_iter().eq(108..140));
    session.call("1");
    session.cancel(100);
    session.send(&listen(&session, 99));
    assert_eq!(session.read()["method"], "notifications/subscriptions/acknowledged", "a place is free again");
}

#[test]
fn a_line_that_is_too_long_does_not_swallow_the_next_one() {
    let (_interpreter, daemon) = world();
    // Around the bound, and where reads of different sizes end.
    for excess in [2, 3, 1000, 65_536, 100_000] {
        let mut session = daemon.connect();
        let mut line = vec![b' '; (16 << 20) + excess];
        let request = br#"{"jsonrpc":"2.0","id":"long","method":"ping""#;
        line[..request.len()].copy_from_slice(request);
        line.extend(b"}\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}\n");
        session.send_bytes(&line);
        let answered = [session.read(), session.read(), session.read()].map(|answer| answer["id"].clone());
        assert_eq!(answered, [json!("long"), json!(1), json!(2)], "{excess} bytes too many");
    }
}

#[test]
fn a_last_line_without_an_end_is_taken() {
    let (_interpreter, daemon) = world();
    let mut session = daemon.connect();
    let call = session.call_message(json!(1), "1").to_string();
    session.send_bytes(call.as_bytes());
    session.finish_writing();
    assert_eq!(session.read_to_end()[0]["id"], 1);
}

#[test]
fn clients_beyond_the_limit_are_turned_away_and_a_place_is_free_again_afterwards() {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_URL", &interpreter.url())], &["--max-sessions", "2"]);
    let mut first = daemon.connect();
    let mut second = daemon.connect();
    first.call("1");
    second.call("1");
    let mut third = daemon.connect();
    for id in [1, 2] {
        third.send_call(id, "1");
        let refused = third.read();
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("2 clients") && message.contains("max_sessions"), "{refused}");
        assert!(message.contains("Nothing was run"), "{refused}");
    }
    assert_eq!(interpreter.requests().len(), 2);
    // Looking in takes no place.
    let status = daemon.home().command().args(["status", "--json"]).output().unwrap();
    assert!(status.status.success(), "{status:?}");
    drop(second);
    eventually("a free place", || {
        let mut session = daemon.connect();
        session.send(&session.message(json!(1), "tools/list", json!({})));
        session.read()["result"].is_object()
    });
    first.call("1");
}

#[test]
fn fifty_clients_that_call_cancel_and_leave_get_exactly_one_answer_for_each_live_id() {
    let (interpreter, daemon) = world();
    thread::scope(|scope| {
        for client in 0..50_u64 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut session = daemon.connect();
                let mut wanted = Vec::new();
                for id in 0..40_u64 {
                    session.send_call(id, "1");
                    match (client + id) % 5 {
                        0 => session.cancel(id),
                        _ => wanted.push(id),
                    }
                }
                if client % 7 == 0 {
                    return;
                }
                // A cancellation may come too late, but no id gets two answers, and none that is wanted gets none.
                let mut answered = BTreeSet::new();
                while !wanted.iter().all(|id| answered.contains(id)) {
                    assert!(answered.insert(session.read()["id"].as_u64().unwrap()), "two answers for one id");
                }
                session.finish_writing();
                for late in session.read_to_end() {
                    assert!(answered.insert(late["id"].as_u64().unwrap()), "two answers for one id");
                }
            });
        }
    });
    assert!(interpreter.requests().len() <= 50 * 40);
    daemon.connect().call("1");
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
    eventually("memory that is given back", || daemon.resident_kilobytes().saturating_sub(before) < FLAT_KILOBYTES);
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
