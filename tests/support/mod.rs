//! What the tests of the daemon share: the daemon itself in a world of its own, a client that speaks raw lines, and an
//! interpreter service that records.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod daemon;
pub mod fake_interpreter;

use std::time::{Duration, Instant};

/// How long a test waits for an event that should come at once: generous, because the machine is shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until `what` holds, for events that nobody announces.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
