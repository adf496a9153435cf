//! The requests of one session that are in flight, and whether another may start.
//!
//! Internally, every request has a number of its own. A client that reuses an id after a cancellation never gets the old request's answer:
//! the number of a cancelled request has no entry.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rmcp::model::{ClientRequest, NumberOrString, RequestId};
use tokio::sync::Notify;

/// How many tool calls of one session run at once. Measured: 32 bounds a flood of calls without any loss of throughput.
pub const MAX_CALLS: usize = 32;
/// How many subscriptions of one session are open at once. They stay open until the client ends them.
pub const MAX_SUBSCRIPTIONS: usize = 8;
/// How many other requests run beside both, so that pings are answered while all calls are busy.
const MAX_OTHERS: usize = 8;

/// The kinds of requests, each with its own bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    Call,
    Subscription,
    Other,
}

impl RequestKind {
    pub fn of(request: &ClientRequest) -> Self {
        match request {
            ClientRequest::CallToolRequest(_) => Self::Call,
            ClientRequest::SubscriptionsListenRequest(_) => Self::Subscription,
            _ => Self::Other,
        }
    }

    fn most(self) -> usize {
        match self {
            Self::Call => MAX_CALLS,
            Self::Subscription => MAX_SUBSCRIPTIONS,
            Self::Other => MAX_OTHERS,
        }
    }
}

#[derive(Default)]
pub struct InFlight {
    table: Mutex<Table>,
    pub freed: Notify,
    cancelled: Notify,
}

#[derive(Default)]
struct Table {
    /// By internal number. They are few, so that a search by the client's id is cheap.
    requests: BTreeMap<i64, Request>,
    last_number: i64,
}

struct Request {
    id: RequestId,
    kind: RequestKind,
    /// The tasks that a subscription watches.
    watched: Vec<String>,
}

impl InFlight {
    pub fn admits(&self, kind: RequestKind) -> bool {
        self.count(kind) < kind.most()
    }

    pub fn count(&self, kind: RequestKind) -> usize {
        self.table().requests.values().filter(|request| request.kind == kind).count()
    }

    /// Adds a request and returns its internal id.
    pub fn begin(&self, id: RequestId, kind: RequestKind, watched: Vec<String>) -> RequestId {
        let mut table = self.table();
        table.last_number += 1;
        let number = table.last_number;
        table.requests.insert(number, Request { id, kind, watched });
        NumberOrString::Number(number)
    }

    pub fn contains(&self, id: &RequestId) -> bool {
        self.table().number_of(id).is_some()
    }

    /// The client's id of a request that still waits for its answer.
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

    /// Removes a request and returns its internal id.
    pub fn cancel(&self, id: &RequestId) -> Option<RequestId> {
        let mut table = self.table();
        let number = table.number_of(id)?;
        table.remove(number);
        drop(table);
        self.freed.notify_one();
        self.cancelled.notify_waiters();
        Some(NumberOrString::Number(number))
    }

    /// Completes when the request `inside` waits for no answer any more; never for none.
    pub async fn until_cancelled(&self, inside: Option<RequestId>) {
        let Some(inside) = inside else { return std::future::pending().await };
        loop {
            // Subscribed before looking, so that no change is missed in between.
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
        // Each change is made in one step, so that a panic leaves the table usable.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn number_of(&self, id: &RequestId) -> Option<i64> {
        self.requests.iter().find(|(_, request)| request.id == *id).map(|(number, _)| *number)
    }

    fn remove(&mut self, number: i64) {
        self.requests.remove(&number);
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
        let first = in_flight.begin(number(7), RequestKind::Call, Vec::new());
        assert_eq!(in_flight.cancel(&number(7)), Some(first.clone()));
        let second = in_flight.begin(number(7), RequestKind::Call, Vec::new());
        assert_eq!(in_flight.id_of(&first), None, "the answer to the first has nowhere to go");
        in_flight.finish(&first);
        assert_eq!(in_flight.id_of(&second), Some(number(7)));
        in_flight.finish(&second);
        assert!(in_flight.is_empty() && !in_flight.contains(&number(7)));
    }

    #[test]
    fn each_kind_of_request_has_its_bound_and_leaves_room_for_the_others() {
        let in_flight = InFlight::default();
        let mut begun = 0;
        for (kind, most) in [(RequestKind::Call, 32), (RequestKind::Subscription, 8), (RequestKind::Other, 8)] {
            while in_flight.admits(kind) {
                begun += 1;
                in_flight.begin(number(begun), kind, Vec::new());
            }
            assert_eq!(in_flight.count(kind), most);
        }
        in_flight.cancel(&number(1));
        assert!(in_flight.admits(RequestKind::Call) && !in_flight.admits(RequestKind::Subscription));
    }
}
