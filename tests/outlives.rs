//! The real shim outlives the real daemon: killed under load, no client is left without an answer or disconnected, and stopped in good
//! order no call fails.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "clients/raw.rs"]
mod raw;
#[path = "support/clients.rs"]
mod world;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use raw::RawClient;
use rustix::process::{Pid, Signal, kill_process};
use world::{World, until};

const CLIENTS: usize = 8;
const KILLS: usize = 30;
const STOPS: usize = 10;

/// Clients call without a pause while `disturb` does its work; how many calls were right, and how many got an error.
///
/// `disturb` gets the number of right calls so far.
fn calls_while(world: &World, disturb: impl FnOnce(&AtomicUsize)) -> (usize, usize) {
    let so_far = AtomicUsize::new(0);
    let (over, ready) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (over, ready, so_far) = (&over, &ready, &so_far);
                scope.spawn(move || {
                    let mut shim = RawClient::launch(&mut world.command(world::shim()));
                    shim.initialize_and_call("pass");
                    ready.fetch_add(1, Ordering::Relaxed);
                    let (mut right, mut failed) = (0, 0);
                    while !over.load(Ordering::Relaxed) {
                        match shim.try_call(&format!("print({client} * {right})")) {
                            Ok(result) if result["isError"] == false => {
                                assert_eq!(result["structuredContent"]["stdout"], format!("{}\n", client * right));
                                right += 1;
                                so_far.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(result) => panic!("{result}"),
                            Err(error) => {
                                assert_eq!(error["code"], -32603, "{error}");
                                assert!(
                                    error["message"].as_str().unwrap().contains("may or may not have run"),
                                    "{error}"
                                );
                                failed += 1;
                            }
                        }
                    }
                    assert_eq!(shim.call("print('still here')")["structuredContent"]["stdout"], "still here\n");
                    (right, failed)
                })
            })
            .collect();
        // Whatever fails here or in a client, all end.
        let disturbed = panic::catch_unwind(AssertUnwindSafe(|| {
            until("all clients call", || ready.load(Ordering::Relaxed) == CLIENTS);
            disturb(&so_far);
        }));
        over.store(true, Ordering::Relaxed);
        let calls = clients.into_iter().map(|client| client.join().unwrap());
        let all = calls.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        disturbed.unwrap_or_else(|failure| panic::resume_unwind(failure));
        all
    })
}

/// Sends a signal to the daemon that serves, and waits until the next one has answered some calls.
fn replace(world: &World, signal: Signal, so_far: &AtomicUsize) {
    let mut daemon = 0;
    until("a daemon serves", || {
        daemon = world.daemons().first().copied().unwrap_or_default();
        daemon != 0
    });
    kill_process(Pid::from_raw(daemon as i32).unwrap(), signal).unwrap();
    until("another daemon serves", || {
        world.daemons().iter().any(|other| *other != daemon) && !world.daemons().contains(&daemon)
    });
    let before = so_far.load(Ordering::Relaxed);
    until("calls are answered", || so_far.load(Ordering::Relaxed) > before + 2 * CLIENTS);
}

#[test]
fn a_daemon_that_is_killed_under_load_costs_the_calls_that_it_had_and_no_client() {
    let world = World::new();
    let (right, failed) = calls_while(&world, |so_far| (0..KILLS).for_each(|_| replace(&world, Signal::KILL, so_far)));
    assert!(right > KILLS, "{right} right, {failed} failed");
    // What each client waited for; and a dying process may still take a connection, which costs another call.
    assert!(failed <= 2 * KILLS * CLIENTS, "{failed} failed");
    assert_eq!(world.daemons().len(), 1, "and one daemon serves all");
}

#[test]
fn a_daemon_that_is_stopped_under_load_costs_no_call() {
    let world = World::new();
    let (right, failed) = calls_while(&world, |so_far| (0..STOPS).for_each(|_| replace(&world, Signal::TERM, so_far)));
    assert_eq!(failed, 0, "of {}", right + failed);
    assert!(right > STOPS);
}
