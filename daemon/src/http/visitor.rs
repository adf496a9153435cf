//! HTTP connections over TCP before and after their first request with the right token. Before it they have little time and few places of
//! their own, so that strangers cannot lock out clients with the token.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::newcomers::{Newcomer, Newcomers};

/// How long a stranger may take to send the head of a request.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(5);
const MAX_UNKNOWN: usize = 64;
const MAX_KNOWN: usize = 256;

/// The places over TCP.
#[derive(Clone)]
pub struct Visitors {
    unknown: Arc<Newcomers>,
    known: Arc<Semaphore>,
}

pub struct Visitor(Mutex<State>);

enum State {
    Unknown(Newcomer, Arc<Semaphore>),
    Known(#[expect(dead_code, reason = "dropping it gives the place back")] OwnedSemaphorePermit),
}

impl Visitors {
    pub fn enter(&self) -> Visitor {
        Visitor(Mutex::new(State::Unknown(self.unknown.enter(MAX_UNKNOWN), self.known.clone())))
    }
}

impl Default for Visitors {
    fn default() -> Self {
        Self { unknown: Arc::default(), known: Arc::new(Semaphore::new(MAX_KNOWN)) }
    }
}

impl Visitor {
    /// A peer on the user's socket, with a place.
    pub fn known(place: OwnedSemaphorePermit) -> Self {
        Self(Mutex::new(State::Known(place)))
    }

    /// Notes that a request was admitted. False if there is no place for a known client.
    pub fn admit(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Unknown(_, known) = &*state {
            let Ok(place) = known.clone().try_acquire_owned() else { return false };
            *state = State::Known(place);
        }
        true
    }

    /// Completes when a stranger's time is up or its place is needed.
    pub async fn turned_away(&self) {
        let closed = match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Unknown(newcomer, _) => Some(newcomer.closed()),
            State::Known(_) => None,
        };
        if let Some(closed) = closed {
            let _ = tokio::time::timeout(UNKNOWN_DEADLINE, closed.cancelled()).await;
        }
        if matches!(&*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Known(_)) {
            std::future::pending().await
        }
    }
}
