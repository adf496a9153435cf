//! What the daemon remembers for its status report.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::report::{ClientReport, EndedExecution, Latency, Status};
use crate::interpreter::ExecutionOutcome;

/// How many executions are remembered.
const RECENT: usize = 16;
/// How many durations are remembered.
const DURATIONS: usize = 256;

/// What the daemon remembers for `status`.
pub struct Board {
    pub since: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: BTreeMap<u64, ClientReport>,
    executions: u64,
    recent: VecDeque<EndedExecution>,
    durations: VecDeque<Duration>,
}

/// The client is listed until this is dropped.
pub struct OnBoard(Arc<Board>, u64);

impl Board {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { since: now(), state: Mutex::default() })
    }

    /// Removes the client `key`, if it is listed, when dropped.
    pub fn guard(self: &Arc<Self>, key: u64) -> OnBoard {
        OnBoard(self.clone(), key)
    }

    pub fn client(&self, key: u64, name: String, version: String) {
        self.state().clients.insert(key, ClientReport { name, version, since: now(), calls: 0 });
    }

    /// An execution of the client `key` has ended.
    pub fn ended(&self, key: u64, execution_id: &str, outcome: ExecutionOutcome, exit_code: i32, duration: Duration) {
        let mut state = self.state();
        let client = state.clients.get_mut(&key).map(|client| {
            client.calls += 1;
            client.name.clone()
        });
        // A refused call never ran.
        if outcome != ExecutionOutcome::Refused {
            state.executions += 1;
            push(&mut state.durations, duration, DURATIONS);
        }
        let ended = EndedExecution {
            execution_id: execution_id.to_owned(),
            client: client.unwrap_or_default(),
            at: now(),
            outcome: outcome.as_str().to_owned(),
            exit_code,
            milliseconds: duration.as_millis() as u64,
        };
        push(&mut state.recent, ended, RECENT);
    }

    /// Writes what is remembered into `status`.
    pub fn fill(&self, status: &mut Status) {
        let state = self.state();
        status.since = self.since;
        status.executions = state.executions;
        status.clients = state.clients.values().cloned().collect();
        status.recent = state.recent.iter().rev().cloned().collect();
        status.latency = latency(state.durations.iter().copied().collect());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OnBoard {
    fn drop(&mut self) {
        self.0.state().clients.remove(&self.1);
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn latency(mut durations: Vec<Duration>) -> Option<Latency> {
    durations.sort_unstable();
    let last = durations.len().checked_sub(1)?;
    let at = |percent: usize| durations[last * percent / 100].as_secs_f64() * 1e3;
    Some(Latency { executions: durations.len(), p50_milliseconds: at(50), p99_milliseconds: at(99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(board: &Board) -> Status {
        let mut status = Status::default();
        board.fill(&mut status);
        status
    }

    #[test]
    fn clients_are_there_while_they_are_and_the_latest_executions_come_first() {
        let board = Board::new();
        let guard = board.guard(7);
        board.client(7, "editor".to_owned(), "1".to_owned());
        for number in 0..300_u64 {
            board.ended(7, &number.to_string(), ExecutionOutcome::Finished, 0, Duration::from_millis(number));
        }
        let status = filled(&board);
        assert_eq!((status.clients[0].calls, status.executions, status.recent.len()), (300, 300, RECENT));
        assert_eq!((status.recent[0].execution_id.as_str(), status.recent[0].client.as_str()), ("299", "editor"));
        let latency = status.latency.unwrap();
        assert_eq!((latency.executions, latency.p50_milliseconds, latency.p99_milliseconds), (256, 171.0, 296.0));
        drop(guard);
        assert!(filled(&board).clients.is_empty());
    }
}
