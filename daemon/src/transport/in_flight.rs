//! The requests of one session that are being worked on: who they are, and whether another may begin.
//!
//! Inside, every request has a number of its own. So a client's id that comes back after a cancellation can never get the
//! answer of the request that had it before, and an answer to a cancelled request is known by having no entry.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rmcp::model::{NumberOrString, RequestId};
use tokio::sync::Notify;

/// How many tool calls of one session run at once; 32 stopped a flood and cost no throughput.
pub const MAX_CALLS: usize = 32;
/// What may run beside them, so that a client whose calls are all busy still gets its ping answered.
const MAX_REQUESTS: usize = MAX_CALLS + 8;

#[derive(Default)]
pub struct InFlight {
    table: Mutex<Table>,
    pub freed: Notify,
    cancelled: Notify,
}

#[derive(Default)]
struct Table {
    /// By number; so few that whoever knows the id looks at each.
    requests: BTreeMap<i64, Request>,
    calls: usize,
    last_number: i64,
}

struct Request {
    id: RequestId,
    is_call: bool,
    /// The tasks that a subscription watches.
    watched: Vec<String>,
}

impl InFlight {
    pub fn admits(&self, is_call: bool) -> bool {
        let table = self.table();
        table.requests.len() < MAX_REQUESTS && !(is_call && table.calls >= MAX_CALLS)
    }

    /// Enters a request and returns the id that stands for it inside.
    pub fn begin(&self, id: RequestId, is_call: bool, watched: Vec<String>) -> RequestId {
        let mut table = self.table();
        table.last_number += 1;
        let number = table.last_number;
        table.requests.insert(number, Request { id, is_call, watched });
        table.calls += usize::from(is_call);
        NumberOrString::Number(number)
    }

    pub fn contains(&self, id: &RequestId) -> bool {
        self.table().number_of(id).is_some()
    }

    /// The client's id of a request that still wants its answer.
    pub fn id_of(&self, inside: &RequestId) -> Option<RequestId> {
        let NumberOrString::Number(number) = inside else { return None };
        self.table().requests.get(number).map(|request| request.id.clone())
    }

    /// The tasks that the subscription `inside` watches.
    pub fn watched(&self, inside: &RequestId) -> Vec<String> {
        let NumberOrString::Number(number) = inside else { return Vec::new() };
        self.table().requests.get(number).map(|request| request.watched.clone()).unwrap_or_default()
    }

    pub fn finish(&self, inside: &RequestId) {
        if let NumberOrString::Number(number) = inside {
            self.table().remove(*number);
            self.freed.notify_one();
        }
    }

    /// Forgets the request and returns the id that stood for it inside.
    pub fn cancel(&self, id: &RequestId) -> Option<RequestId> {
        let mut table = self.table();
        let number = table.number_of(id)?;
        table.remove(number);
        drop(table);
        self.freed.notify_one();
        self.cancelled.notify_waiters();
        Some(NumberOrString::Number(number))
    }

    /// Returns once the request `inside` wants no answer any more; never for none.
    pub async fn until_cancelled(&self, inside: Option<RequestId>) {
        let Some(inside) = inside else { return std::future::pending().await };
        loop {
            // Asked for before the look, so that none is missed between the two.
            let cancelled = self.cancelled.notified();
            if self.id_of(&inside).is_none() {
                return;
            }
            cancelled.await;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.table().requests.is_empty()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change is complete when it is made, so that a panic elsewhere leaves the table usable.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn number_of(&self, id: &RequestId) -> Option<i64> {
        self.requests.iter().find(|(_, request)| request.id == *id).map(|(number, _)| *number)
    }

    fn remove(&mut self, number: i64) {
        if let Some(request) = self.requests.remove(&number) {
            self.calls -= usize::from(request.is_call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(id: i64) -> RequestId {
        NumberOrString::Number(id)
    }

    #[test]
    fn an_id_that_comes_back_after_a_cancellation_is_another_request() {
        let in_flight = InFlight::default();
        let first = in_flight.begin(number(7), true, Vec::new());
        assert_eq!(in_flight.cancel(&number(7)), Some(first.clone()));
        let second = in_flight.begin(number(7), true, Vec::new());
        assert_eq!(in_flight.id_of(&first), None, "the answer to the first has nowhere to go");
        in_flight.finish(&first);
        assert_eq!(in_flight.id_of(&second), Some(number(7)));
        in_flight.finish(&second);
        assert!(in_flight.is_empty() && !in_flight.contains(&number(7)));
    }

    #[test]
    fn calls_leave_room_for_other_requests_and_both_are_bounded() {
        let in_flight = InFlight::default();
        let mut begun = 0;
        let mut fill = |is_call| {
            while in_flight.admits(is_call) {
                begun += 1;
                in_flight.begin(number(begun), is_call, Vec::new());
            }
            begun
        };
        assert_eq!(fill(true), 32);
        assert_eq!(fill(false), 40);
        in_flight.cancel(&number(1));
        assert!(in_flight.admits(true));
    }
}
