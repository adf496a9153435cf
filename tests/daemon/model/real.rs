//! The real shim and daemon, and a service that notes what it is sent, as they go through the steps that the model draws.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::{Era, Model, Step};
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use crate::support::launcher::shim;
use crate::support::processes::signal;
use crate::support::world::World;
use crate::support::{PATIENCE, until};
use proptest_state_machine::StateMachineTest;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Clients that the daemon serves at once.
const MAX_SESSIONS: usize = 3;

/// A client with its shim.
struct Client {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Client {
    fn launch(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take(), process.stdout.take().unwrap());
        Self { process, input, lines: lines(output) }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    fn read(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("an answer");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

pub struct Real {
    world: World,
    service: FakeInterpreter,
    client: Client,
    era: Era,
    last: u64,
    /// Requests that wait for their answer.
    live: BTreeSet<u64>,
    /// Held calls, the first one first.
    held: Vec<u64>,
    cancelled: BTreeSet<u64>,
    answers: BTreeMap<u64, usize>,
}

impl Real {
    fn command(&self) -> Command {
        command(&self.world, &self.service)
    }

    /// The next request's message; some ids are strings, which are written in two ways.
    fn message(&mut self, method: &str, mut params: Value) -> (u64, Value) {
        self.last += 1;
        if self.era == Era::Modern && method != "ping" {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "model", "version": "1"});
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        (self.last, json!({"jsonrpc": "2.0", "id": id(self.last), "method": method, "params": params}))
    }

    fn ask(&mut self, method: &str, params: Value) -> u64 {
        let (number, message) = self.message(method, params);
        self.live.insert(number);
        self.client.send(&message);
        number
    }

    fn call(&mut self) -> u64 {
        let source = format!("call {}", self.last + 1);
        self.ask("tools/call", json!({"name": "execute_python_code", "arguments": {"source_code": source}}))
    }

    /// Takes one answer to whichever request.
    fn take(&mut self) -> (u64, Value) {
        loop {
            let message = self.client.read();
            if message.get("method").is_some() {
                continue;
            }
            let number = number(&message["id"]);
            *self.answers.entry(number).or_default() += 1;
            assert!(self.live.remove(&number), "an answer that nobody waits for: {message}");
            return (number, message);
        }
    }

    fn wait_for(&mut self, wanted: u64) -> Value {
        loop {
            let (number, message) = self.take();
            self.held.retain(|held| *held != number);
            if number == wanted {
                return message;
            }
        }
    }

    fn wait_for_all(&mut self) {
        while !self.live.is_empty() {
            self.take();
        }
        self.held.clear();
    }

    fn daemon(&self) -> u32 {
        let daemons = self.world.daemons();
        assert_eq!(daemons.len(), 1, "one daemon: {daemons:?}");
        daemons[0]
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Ping => {
                let asked = self.ask("ping", json!({}));
                self.wait_for(asked);
            }
            Step::Call => {
                let asked = self.call();
                let answer = self.wait_for(asked);
                assert!(answer["result"].is_object(), "{answer}");
            }
            Step::Large { bytes, cut } => {
                let (ping, first) = self.message("ping", json!({}));
                let source = format!("call {} {}", self.last + 1, "x".repeat(*bytes));
                let (call, second) = self.message(
                    "tools/call",
                    json!({
                        "name": "execute_python_code", "arguments": {"source_code": source},
                        "_meta": {"python-interpreter-mcp/outputCharacters": 400_000},
                    }),
                );
                self.live.extend([ping, call]);
                let both = format!("{first}\n{second}\n");
                let (begin, rest) = both.as_bytes().split_at((*cut).min(both.len()));
                let input = self.client.input.as_mut().unwrap();
                input.write_all(begin).unwrap();
                // So that the shim usually meets the beginning alone.
                thread::sleep(Duration::from_millis(5));
                input.write_all(rest).unwrap();
                let answer = self.wait_for(call);
                assert_eq!(answer["result"]["structuredContent"]["stdout"], source, "{call}");
                if self.live.contains(&ping) {
                    self.wait_for(ping);
                }
            }
            Step::Hold => {
                let before = self.service.requests().len();
                self.service.answer_next(Answer::Hold);
                let asked = self.call();
                self.service.wait_for_requests(before + 1);
                self.held.push(asked);
            }
            Step::Cancel(place) => {
                let number = self.held.remove(*place);
                self.live.remove(&number);
                self.cancelled.insert(number);
                let ended = self.service.ended();
                let params = json!({"requestId": id(number)});
                self.client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
                self.service.wait_for_ended(ended + 1);
            }
            Step::Release => {
                self.service.release();
                self.wait_for_all();
                self.service.hold_again();
            }
            Step::Kill => {
                self.daemon();
                self.kill_daemons();
                self.wait_for_all();
            }
            Step::Terminate => {
                signal(self.daemon(), Signal::TERM);
                // What is asked meanwhile goes to the next daemon.
                self.ask("ping", json!({}));
                self.wait_for_all();
                // The one that stops leaves the one that the ping has started.
                until("one daemon", || self.world.daemons().len() <= 1);
                self.kill_daemons();
            }
            Step::Reload => signal(self.daemon(), Signal::HUP),
            Step::Crowd => self.crowd(),
        }
    }

    /// Ends all daemons. While a thread of one is left its sockets are open, and take what nobody reads.
    fn kill_daemons(&mut self) {
        let daemons = self.world.daemons();
        for daemon in &daemons {
            signal(*daemon, Signal::KILL);
        }
        let is_gone = |daemon: &u32| !Path::new(&format!("/proc/{daemon}")).exists();
        until("the daemons are gone", || daemons.iter().all(is_gone));
    }

    /// Clients take the places that are left, one more is told so, and all leave.
    fn crowd(&mut self) {
        let list = |client: &mut Client| {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            client.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}));
            let answer = client.read();
            assert_eq!(answer["id"], 1);
            answer
        };
        let before = self.service.requests().len();
        let mut crowd: Vec<Client> = (0..MAX_SESSIONS).map(|_| Client::launch(&mut self.command())).collect();
        let refused: Vec<Value> = crowd.iter_mut().map(list).filter(|answer| answer["error"].is_object()).collect();
        for answer in &refused {
            assert!(answer["error"]["message"].as_str().unwrap().contains("max_sessions"), "{answer}");
        }
        assert!(!refused.is_empty(), "somebody has no place");
        drop(crowd);
        assert_eq!(self.service.requests().len(), before);
        // The next crowd shall find the same places.
        until("the places are free again", || {
            let mut client = Client::launch(&mut self.command());
            list(&mut client)["result"].is_object()
        });
    }

    /// The rule.
    fn check(&self) {
        assert!(self.answers.values().all(|count| *count == 1), "answered twice: {:?}", self.answers);
        let wrong: Vec<_> = self.cancelled.iter().filter(|number| self.answers.contains_key(number)).collect();
        assert!(wrong.is_empty(), "answered although cancelled: {wrong:?}");
        let mut seen = BTreeSet::new();
        for request in self.service.requests() {
            let source = request.source_code();
            assert!(seen.insert(source.clone()), "executed twice: {source}");
        }
    }

    /// The client closes its input: what is live is answered, and the shim leaves.
    fn end(mut self) {
        self.service.release();
        self.client.input = None;
        self.wait_for_all();
        until("the shim's end", || self.client.process.try_wait().unwrap().is_some());
        // What comes last is no answer.
        for line in self.client.lines.iter() {
            let message: Value = serde_json::from_str(&line).unwrap();
            assert!(message.get("method").is_some(), "one more answer: {message}");
        }
        self.check();
    }
}

fn command(world: &World, service: &FakeInterpreter) -> Command {
    let mut command = world.command(shim());
    command.env("PYTHON_INTERPRETER_MCP_URL", service.url()).env("PYTHON_INTERPRETER_MCP_DRAIN", "1");
    command.env("PYTHON_INTERPRETER_MCP_MAX_SESSIONS", MAX_SESSIONS.to_string());
    command
}

/// Numbers and strings in turn; a string has a character that is written escaped by some and not by others.
fn id(number: u64) -> Value {
    if number.is_multiple_of(2) { json!(number) } else { json!(format!("é/{number}")) }
}

fn number(id: &Value) -> u64 {
    id.as_u64().unwrap_or_else(|| id.as_str().unwrap().trim_start_matches("é/").parse().unwrap())
}

impl StateMachineTest for Real {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let (world, service) = (World::new(), FakeInterpreter::start());
        service.echo();
        let client = Client::launch(&mut command(&world, &service));
        let mut real = Self {
            world,
            service,
            client,
            era: model.era,
            last: 0,
            live: BTreeSet::new(),
            held: Vec::new(),
            cancelled: BTreeSet::new(),
            answers: BTreeMap::new(),
        };
        match model.era {
            Era::Legacy => {
                let client = json!({"name": "model", "version": "1"});
                let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
                let asked = real.ask("initialize", params);
                assert!(real.wait_for(asked)["result"].is_object());
                real.client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
            }
            Era::Modern => {
                let asked = real.ask("server/discover", json!({}));
                assert!(real.wait_for(asked)["result"].is_object());
            }
        }
        real
    }

    fn apply(mut real: Self, _model: &Model, step: Step) -> Self {
        real.step(&step);
        real
    }

    fn check_invariants(real: &Self, model: &Model) {
        real.check();
        assert_eq!(real.held.len(), model.held);
    }

    fn teardown(real: Self, _model: Model) {
        real.end();
    }
}
