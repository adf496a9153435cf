//! The real shim outlives the real daemon: killed under load, no client is left without an answer or disconnected and nothing runs
//! twice; stopped in good order no call fails.

use std::collections::HashMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::fake_interpreter::FakeInterpreter;
use crate::support::launcher::shim;
use crate::support::processes::signal;
use crate::support::raw_client::RawClient;
use crate::support::until;
use crate::support::world::World;
use rustix::process::Signal;

const CLIENTS: usize = 20;
const KILLS: usize = 200;
const STOPS: usize = 50;

/// What became of the calls of all clients.
#[derive(Default)]
struct Calls {
    right: Vec<String>,
    lost: Vec<String>,
}

/// Clients call without a pause while `disturb` does its work, which gets the number of right calls so far.
fn calls_while(world: &World, interpreter: &FakeInterpreter, disturb: impl FnOnce(&AtomicUsize)) -> Calls {
    let so_far = AtomicUsize::new(0);
    let (over, ready) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (over, ready, so_far) = (&over, &ready, &so_far);
                scope.spawn(move || {
                    let mut command = world.command(shim());
                    let mut shim = RawClient::launch(command.env("PYTHON_INTERPRETER_MCP_URL", interpreter.url()));
                    let mut calls = Calls::default();
                    shim.initialize_and_call("pass");
                    ready.fetch_add(1, Ordering::Relaxed);
                    while !over.load(Ordering::Relaxed) {
                        let code = format!("{client}: {}", calls.right.len() + calls.lost.len());
                        match shim.try_call(&code) {
                            Ok(result) => {
                                assert_eq!(result["structuredContent"]["stdout"], code, "{result}");
                                calls.right.push(code);
                                so_far.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => {
                                assert_eq!(error["code"], -32603, "{error}");
                                let message = error["message"].as_str().unwrap();
                                assert!(message.contains("may or may not have run"), "{error}");
                                calls.lost.push(code);
                            }
                        }
                    }
                    assert_eq!(shim.call("still here")["structuredContent"]["stdout"], "still here");
                    assert_eq!(shim.rest(), "", "nobody asked for it");
                    calls
                })
            })
            .collect();
        // Whatever fails here or in a client, all end.
        let disturbed = panic::catch_unwind(AssertUnwindSafe(|| {
            until("all clients call", || ready.load(Ordering::Relaxed) == CLIENTS);
            disturb(&so_far);
        }));
        over.store(true, Ordering::Relaxed);
        let mut all = Calls::default();
        for client in clients {
            let calls = client.join().unwrap();
            all.right.extend(calls.right);
            all.lost.extend(calls.lost);
        }
        disturbed.unwrap_or_else(|failure| panic::resume_unwind(failure));
        all
    })
}

/// Sends a signal to the daemon that serves, and waits until the next one has answered some calls.
fn replace(world: &World, with: Signal, so_far: &AtomicUsize) {
    let mut daemon = 0;
    until("a daemon serves", || {
        daemon = world.daemons().first().copied().unwrap_or_default();
        daemon != 0
    });
    signal(daemon, with);
    until("another daemon serves", || {
        world.daemons().iter().any(|other| *other != daemon) && !world.daemons().contains(&daemon)
    });
    let before = so_far.load(Ordering::Relaxed);
    until("calls are answered", || so_far.load(Ordering::Relaxed) > before + CLIENTS);
}

/// What was answered ran once, and what was not ran once at most.
fn check_runs(interpreter: &FakeInterpreter, calls: &Calls) {
    let mut runs: HashMap<String, usize> = HashMap::new();
    for request in interpreter.requests() {
        *runs.entry(request.source_code()).or_default() += 1;
    }
    let times = |code: &String| runs.get(code).copied().unwrap_or_default();
    let wrong: Vec<_> = calls.right.iter().filter(|code| times(code) != 1).collect();
    assert!(wrong.is_empty(), "answered, and not run once: {wrong:?}");
    let twice: Vec<_> = calls.lost.iter().filter(|code| times(code) > 1).collect();
    assert!(twice.is_empty(), "run twice: {twice:?}");
}

/// The daemon's socket with its lock, and its log: nothing of those that are gone.
fn check_what_is_left(world: &World) {
    assert_eq!(world.daemons().len(), 1, "one daemon serves all");
    assert!(world.shims().is_empty(), "they have ended with their clients");
    let mut left: Vec<_> =
        [world.path().join("python-interpreter-mcp"), world.path().join("state/python-interpreter-mcp")]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
    left.retain(|name| !["daemon.log", "daemon.log.1", "mcp.lock", "mcp.sock", "tasks"].contains(&name.as_str()));
    assert!(left.is_empty(), "left: {left:?}");
}

#[test]
fn a_daemon_that_is_killed_under_load_costs_the_calls_that_it_had_and_no_client() {
    let (world, interpreter) = (World::new(), FakeInterpreter::start());
    interpreter.echo();
    let calls = calls_while(&world, &interpreter, |so_far| {
        (0..KILLS).for_each(|_| replace(&world, Signal::KILL, so_far));
    });
    assert!(!calls.lost.is_empty(), "no kill met a call: nothing was tried");
    check_runs(&interpreter, &calls);
    check_what_is_left(&world);
}

#[test]
fn a_daemon_that_is_stopped_under_load_costs_no_call() {
    let (world, interpreter) = (World::new(), FakeInterpreter::start());
    interpreter.echo();
    let calls = calls_while(&world, &interpreter, |so_far| {
        (0..STOPS).for_each(|_| replace(&world, Signal::TERM, so_far));
    });
    assert!(calls.lost.is_empty(), "{:?} of {}", calls.lost, calls.right.len());
    check_runs(&interpreter, &calls);
    check_what_is_left(&world);
}
