//! What tests share: worlds of their own for the programs that they start, services and clients that they play, and waiting.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod client_software;
pub mod daemon;
pub mod environment;
pub mod fake_interpreter;
pub mod installed;
pub mod interpreter;
pub mod launcher;
pub mod own_network;
pub mod processes;
pub mod raw_client;
pub mod venv;
pub mod world;

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for an event that should come at once: generous, because the machine is shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for an event that nobody announces, and fails the test where it does not come.
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(happens_within(PATIENCE, is_so), "never happened: {what}");
}

/// Whether the event comes before the deadline.
pub fn happens_within(deadline: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Says why a test is passed over on this machine; where CI runs it, none may be.
pub fn passed_over(reason: &str) {
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "CI passes nothing over: {reason}");
    // Not captured as a test's own output is, which is dropped where the test passes.
    let _ = writeln!(io::stderr(), "passed over: {reason}");
}

/// A Python with the packages that programs use most. Where it cannot be made, the test that needs it is passed over.
pub fn python_with_packages() -> Option<PathBuf> {
    venv::python().inspect_err(|reason| passed_over(&format!("there is no Python with packages: {reason}"))).ok()
}
