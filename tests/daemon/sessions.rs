//! Clients side by side: how many there may be, and what each of them may have open.

use std::collections::BTreeSet;
use std::thread;

use crate::support::daemon::{Daemon, Session};
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use crate::support::until;
use serde_json::json;

fn world() -> (FakeInterpreter, Daemon) {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    (interpreter, daemon)
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
    until("a free place", || {
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
