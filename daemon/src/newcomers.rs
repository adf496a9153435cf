//! Connections that have not sent a byte yet. Their number is bounded, and the bound locks nobody out: the oldest one is closed for the
//! newest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub struct Newcomers {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    /// The oldest one first.
    connections: BTreeMap<u64, CancellationToken>,
}

/// The connection counts as a newcomer until this is dropped.
pub struct Newcomer {
    number: u64,
    newcomers: Arc<Newcomers>,
    closed: CancellationToken,
}

impl Newcomers {
    /// Adds a connection. If there are `most` already, the oldest is closed.
    pub fn enter(self: &Arc<Self>, most: usize) -> Newcomer {
        let closed = CancellationToken::new();
        let mut waiting = self.waiting();
        if waiting.connections.len() >= most
            && let Some((_, first)) = waiting.connections.pop_first()
        {
            first.cancel();
        }
        waiting.last += 1;
        let number = waiting.last;
        waiting.connections.insert(number, closed.clone());
        Newcomer { number, newcomers: self.clone(), closed }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Newcomer {
    /// Completes when this connection has to be closed for another one.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.newcomers.waiting().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_waited_longest_is_closed_for_the_next() {
        let newcomers = Arc::new(Newcomers::default());
        let [first, second] = [2, 2].map(|most| newcomers.enter(most));
        let third = newcomers.enter(2);
        assert!(first.closed().is_cancelled() && !second.closed().is_cancelled());
        drop(second);
        let fourth = newcomers.enter(2);
        assert!(!third.closed().is_cancelled() && !fourth.closed().is_cancelled());
    }
}
