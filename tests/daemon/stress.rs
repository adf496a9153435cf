//! Ten thousand calls from fifty clients that cancel, hang up and use ids twice at random: each live id gets exactly one answer, a
//! cancelled one none afterwards, and the daemon's memory stays as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use crate::support::daemon::{Daemon, Session};
use crate::support::fake_interpreter::FakeInterpreter;
use serde_json::{Value, json};

const CLIENTS: u64 = 50;
const CALLS: u64 = 200;
/// Calls that a client has open at most before it reads: all together no more than may run and wait.
const OPEN: usize = 4;
/// What the daemon's resident memory may differ by, in kilobytes, after a tenth of the calls and after all.
const FLAT_KILOBYTES: u64 = 6 * 1024;

/// Numbers that look like chance and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One connection, and what is still owed on it.
struct Client<'a> {
    daemon: &'a Daemon,
    session: Session,
    /// Id → how many answers it is to get: one for each time it was sent.
    owed: BTreeMap<u64, usize>,
    cancelled: BTreeSet<u64>,
    results: u64,
}

impl<'a> Client<'a> {
    fn new(daemon: &'a Daemon) -> Self {
        let session = daemon.connect();
        Self { daemon, session, owed: BTreeMap::new(), cancelled: BTreeSet::new(), results: 0 }
    }

    fn send(&mut self, id: u64) {
        self.session.send_call(id, "1");
        *self.owed.entry(id).or_default() += 1;
    }

    fn take_one(&mut self) {
        let answer = self.session.read_answer();
        let id = answer["id"].as_u64().unwrap();
        if self.cancelled.contains(&id) {
            // It was on its way.
            return;
        }
        let owed = self.owed.get_mut(&id).unwrap_or_else(|| panic!("an answer that nobody waits for: {answer}"));
        *owed -= 1;
        if *owed == 0 {
            self.owed.remove(&id);
        }
        if answer["error"].is_null() {
            assert_eq!(answer["result"]["structuredContent"]["exit_code"], 0, "{answer}");
            self.results += 1;
        } else {
            assert_eq!(answer["error"]["code"], -32600, "an id that is in use already: {answer}");
        }
    }

    fn cancel(&mut self, id: u64) {
        if self.owed.remove(&id).is_some() {
            self.session.cancel(id);
            self.cancelled.insert(id);
        }
    }

    /// Takes every answer that is owed. What was cancelled before is silent after a request that was sent later has been answered.
    fn settle(&mut self) {
        while !self.owed.is_empty() {
            self.take_one();
        }
        self.session.send(&self.session.message(json!("last"), "tools/list", json!({})));
        loop {
            let answer = self.session.read_answer();
            if answer["id"] == "last" {
                break;
            }
            assert!(self.cancelled.contains(&answer["id"].as_u64().unwrap()), "answered twice: {answer}");
        }
        self.session.send(&self.session.message(json!("quiet"), "tools/list", json!({})));
        let answer = self.session.read_answer();
        assert_eq!(answer["id"], Value::from("quiet"), "an answer after a cancellation: {answer}");
        self.cancelled.clear();
    }
}

fn converse(daemon: &Daemon, number: u64, calls: u64) -> u64 {
    let (mut client, mut chance, mut results) = (Client::new(daemon), Chance(number), 0);
    for id in 0..calls {
        client.send(id);
        match chance.below(20) {
            0..3 => client.cancel(id),
            // The same id again, while the first may still be live.
            3..5 => client.send(id),
            5 => client.settle(),
            6 if chance.below(3) == 0 => {
                results += client.results;
                client = Client::new(client.daemon);
            }
            _ => {}
        }
        while client.owed.values().sum::<usize>() > OPEN {
            client.take_one();
        }
    }
    client.settle();
    results + client.results
}

fn all(daemon: &Daemon, calls: u64) -> u64 {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || converse(daemon, number, calls))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

#[test]
fn ten_thousand_calls_get_exactly_one_answer_each() {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    all(&daemon, CALLS / 10);
    let before = daemon.resident_kilobytes();
    let results = all(&daemon, CALLS);
    let after = daemon.resident_kilobytes();
    println!("{results} results, {before} kB before and {after} kB after");
    assert!(results > CLIENTS * CALLS / 2, "{results} results");
    assert!(after < before + FLAT_KILOBYTES, "{before} kB before and {after} kB after");
    // Whatever was cancelled or left has ended.
    assert_eq!(daemon.connect().call("1")["structuredContent"]["exit_code"], 0);
}
