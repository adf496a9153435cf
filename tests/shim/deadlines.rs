//! What the relay does when its deadlines come, with shorter ones than a user has: each request still gets its one answer.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use python_interpreter_mcp::relay::{self, Daemons, Ended, Patience};
use serde_json::{Value, json};

const SHORT: Duration = Duration::from_millis(100);
/// How long a test waits for an event that should come soon.
const LONG: Duration = Duration::from_secs(30);

/// The test plays each daemon in turn: it is handed the other end of each connection.
struct Played {
    reached: Sender<UnixStream>,
    /// What the service manager says of a silent daemon.
    trouble: Option<&'static str>,
}

impl Daemons for Played {
    fn reach(&self) -> Result<UnixStream, String> {
        let (shim, daemon) = pair();
        self.reached.send(daemon).unwrap();
        Ok(shim)
    }

    fn why_ended(&self) -> String {
        "why it ended".to_owned()
    }

    fn why_silent(&self, _waited: Duration) -> Option<String> {
        self.trouble.map(str::to_owned)
    }
}

struct World {
    client: UnixStream,
    answers: BufReader<UnixStream>,
    daemons: Receiver<UnixStream>,
    relay: JoinHandle<Ended>,
}

fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    for stream in [&one, &other] {
        stream.set_read_timeout(Some(LONG)).unwrap();
    }
    (one, other)
}

/// A relay between a client and the first daemon, which is returned.
fn started(patience: Patience, trouble: Option<&'static str>) -> (World, UnixStream) {
    let ((client, shim), (first, daemon), (reached, daemons)) = (pair(), pair(), mpsc::channel());
    let answers = BufReader::new(client.try_clone().unwrap());
    let relay =
        thread::spawn(move || relay::run(&shim, &shim, first, None, Played { reached, trouble }, patience).unwrap());
    (World { client, answers, daemons, relay }, daemon)
}

impl World {
    fn send(&mut self, id: u32, method: &str) {
        writeln!(self.client, "{}", json!({"jsonrpc": "2.0", "id": id, "method": method})).unwrap();
    }

    fn read(&mut self) -> Value {
        line(&mut self.answers)
    }

    fn next_daemon(&self) -> UnixStream {
        self.daemons.recv_timeout(LONG).unwrap()
    }
}

fn line(reader: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn request_at(daemon: &UnixStream) -> Value {
    line(&mut BufReader::new(daemon.try_clone().unwrap()))
}

fn answer(mut daemon: &UnixStream, id: u32) {
    writeln!(daemon, "{}", json!({"jsonrpc": "2.0", "id": id, "result": {}})).unwrap();
}

#[test]
fn a_daemon_that_finishes_for_too_long_is_given_up_and_the_next_one_answers() {
    let patience = Patience { last_answers: SHORT, ..Patience::default() };
    let (mut world, draining) = started(patience, None);
    world.send(1, "tools/call");
    assert_eq!(request_at(&draining)["id"], 1);
    draining.shutdown(Shutdown::Read).unwrap();
    world.send(2, "ping");
    let lost = world.read();
    assert_eq!((&lost["id"], &lost["error"]["code"]), (&json!(1), &json!(-32603)), "{lost}");
    let next = world.next_daemon();
    assert_eq!(request_at(&next)["id"], 2);
    answer(&next, 2);
    assert_eq!(world.read()["id"], 2);
    world.send(3, "ping");
    assert_eq!(request_at(&next)["id"], 3, "and the relay goes on");
}

#[test]
fn a_daemon_that_finishes_has_its_time_while_nothing_else_waits() {
    let patience = Patience { last_answers: SHORT, ..Patience::default() };
    let (mut world, draining) = started(patience, None);
    world.send(1, "tools/call");
    assert_eq!(request_at(&draining)["id"], 1);
    draining.shutdown(Shutdown::Read).unwrap();
    thread::sleep(3 * SHORT);
    answer(&draining, 1);
    assert!(world.read()["result"].is_object());
}

#[test]
fn a_daemon_that_finishes_and_owes_nothing_keeps_nobody_waiting() {
    let (mut world, draining) = started(Patience::default(), None);
    draining.shutdown(Shutdown::Read).unwrap();
    let asked = Instant::now();
    world.send(1, "ping");
    let next = world.next_daemon();
    assert_eq!(request_at(&next)["id"], 1);
    assert!(asked.elapsed() < Patience::default().last_answers);
}

#[test]
fn what_was_asked_before_the_end_of_input_is_answered_however_long_it_takes() {
    let patience = Patience { standstill: SHORT, ..Patience::default() };
    let (mut world, daemon) = started(patience, None);
    world.send(1, "tools/call");
    world.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(request_at(&daemon)["id"], 1);
    thread::sleep(3 * SHORT);
    answer(&daemon, 1);
    assert!(world.read()["result"].is_object());
    // The daemon does not close: nothing is owed any more, and nothing moves.
    assert_eq!(world.relay.join().unwrap(), Ended::ClientFinished);
}

#[test]
fn a_daemon_that_ends_after_the_end_of_input_is_told_of() {
    let (mut world, daemon) = started(Patience::default(), None);
    world.send(1, "tools/call");
    world.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(request_at(&daemon)["id"], 1);
    daemon.shutdown(Shutdown::Both).unwrap();
    assert_eq!(world.read()["error"]["code"], -32603);
    assert_eq!(world.relay.join().unwrap(), Ended::ClientFinished);
}

#[test]
fn a_daemon_that_will_never_answer_is_told_of_and_left() {
    let (mut world, _silent) = started(Patience::default(), Some("the unit has failed"));
    world.send(1, "initialize");
    world.send(2, "ping");
    let errors = [world.read(), world.read()];
    for id in [1, 2] {
        let error = errors.iter().find(|error| error["id"] == id).unwrap();
        assert_eq!(error["error"]["message"], "the unit has failed");
    }
    // For a second requests are refused with what was found out.
    thread::sleep(Duration::from_millis(1200));
    world.send(3, "ping");
    let next = world.next_daemon();
    assert_eq!(request_at(&next)["id"], 3);
    answer(&next, 3);
    assert_eq!(world.read()["id"], 3);
}

#[test]
fn a_daemon_that_has_answered_once_may_take_long() {
    let (mut world, daemon) = started(Patience::default(), Some("the unit has failed"));
    for (id, after) in [(1, Duration::ZERO), (2, Duration::from_millis(1500))] {
        world.send(id, "ping");
        assert_eq!(request_at(&daemon)["id"], id);
        // The service manager is asked about a daemon that has been silent for a second.
        thread::sleep(after);
        answer(&daemon, id);
        assert_eq!(world.read(), json!({"jsonrpc": "2.0", "id": id, "result": {}}));
    }
}

#[test]
fn a_last_request_without_an_end_of_its_line_is_answered_like_any_other() {
    let patience = Patience { standstill: SHORT, ..Patience::default() };
    let (mut world, daemon) = started(patience, None);
    write!(world.client, "{}", json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call"})).unwrap();
    world.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(request_at(&daemon)["id"], 1);
    thread::sleep(3 * SHORT);
    daemon.shutdown(Shutdown::Both).unwrap();
    assert_eq!(world.read()["error"]["code"], -32603, "and is lost like any other");
}
