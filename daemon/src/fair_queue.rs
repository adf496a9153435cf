//! A number of executions run at once, and more wait. Clients take turns, and share the places in the queue, however many calls one of them
//! makes. What is run is not its concern.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// Calls of all clients that may wait. Where they are so many, a client that has fewer waiting than another takes a place of the other's;
/// the call that loses it is refused.
pub const MAX_WAITING: usize = 256;

#[derive(Debug)]
pub struct FairQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    places: usize,
    running: usize,
    waiting: usize,
    /// Clients with calls that wait, the next one first.
    clients: VecDeque<Client>,
}

#[derive(Debug)]
struct Client {
    key: u64,
    calls: VecDeque<oneshot::Sender<Turn>>,
}

/// A place to run in, given back when dropped.
#[derive(Debug)]
pub struct Turn(Option<Arc<FairQueue>>);

/// Why there is no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    #[error("{MAX_WAITING} calls are waiting already, and this client's share of them is taken")]
    Full,
    #[error("others took the whole of the call's own time")]
    Late,
}

impl FairQueue {
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { places, ..State::default() }) })
    }

    /// A turn for a call of the client `key`, waited for until `deadline` is over. Dropping the future gives up the place in the queue.
    pub async fn take(self: &Arc<Self>, key: u64, deadline: Duration) -> Result<Turn, Busy> {
        let receiver = {
            let mut state = self.state();
            if state.running < state.places {
                state.running += 1;
                return Ok(Turn(Some(self.clone())));
            }
            state.forget_those_who_gave_up();
            if state.waiting >= MAX_WAITING && !state.make_room_for(key) {
                return Err(Busy::Full);
            }
            let (sender, receiver) = oneshot::channel();
            state.enter(key, sender);
            receiver
        };
        match tokio::time::timeout(deadline, receiver).await {
            Ok(Ok(turn)) => Ok(turn),
            // Its place is another client's.
            Ok(Err(_)) => Err(Busy::Full),
            Err(_) => Err(Busy::Late),
        }
    }

    /// How many calls wait.
    pub fn waiting(&self) -> usize {
        let mut state = self.state();
        state.forget_those_who_gave_up();
        state.waiting
    }

    /// From now on so many run at once. What runs goes on.
    pub fn resize(self: &Arc<Self>, places: usize) {
        self.state().places = places;
        self.pass_on();
    }

    /// Gives the places that are free to those who wait.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                if state.running >= state.places {
                    return;
                }
                let Some(next) = state.next() else { return };
                state.running += 1;
                next
            };
            // It has given up: the place is the next one's, and must not come back by being dropped here.
            if let Err(mut turn) = next.send(Turn(Some(self.clone()))) {
                drop(turn.0.take());
                self.state().running -= 1;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.state().running -= 1;
            turns.pass_on();
        }
    }
}

impl State {
    fn enter(&mut self, key: u64, call: oneshot::Sender<Turn>) {
        self.waiting += 1;
        match self.clients.iter_mut().find(|client| client.key == key) {
            Some(client) => client.calls.push_back(call),
            None => self.clients.push_back(Client { key, calls: VecDeque::from([call]) }),
        }
    }

    /// Takes a place from the client that has most, if that is more than `key` would then have.
    fn make_room_for(&mut self, key: u64) -> bool {
        let own = self.clients.iter().find(|client| client.key == key).map_or(0, |client| client.calls.len());
        let Some(heaviest) = self.clients.iter_mut().max_by_key(|client| client.calls.len()) else { return false };
        if heaviest.calls.len() <= own + 1 {
            return false;
        }
        // The last of them would have waited longest.
        heaviest.calls.pop_back();
        self.waiting -= 1;
        true
    }

    /// The first call of the next client, who is the last one then.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let mut client = self.clients.pop_front()?;
        let call = client.calls.pop_front()?;
        self.waiting -= 1;
        if !client.calls.is_empty() {
            self.clients.push_back(client);
        }
        Some(call)
    }

    fn forget_those_who_gave_up(&mut self) {
        for client in &mut self.clients {
            client.calls.retain(|call| !call.is_closed());
        }
        self.clients.retain(|client| !client.calls.is_empty());
        self.waiting = self.clients.iter().map(|client| client.calls.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Lets tasks that were just started go as far as they can.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn clients_take_turns_however_many_calls_one_has_made() {
        let turns = FairQueue::new(1);
        let first = turns.take(1, LONG).await.unwrap();
        let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
        for (client, call) in [(1, "1a"), (1, "1b"), (1, "1c"), (2, "2a"), (3, "3a"), (2, "2b")] {
            let (turns, sender) = (turns.clone(), sender.clone());
            tokio::spawn(async move {
                let _turn = turns.take(client, LONG).await.unwrap();
                sender.send(call).unwrap();
            });
            settle().await;
        }
        assert_eq!(turns.waiting(), 6);
        drop(first);
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(order.recv().await.unwrap());
        }
        assert_eq!(seen, ["1a", "2a", "3a", "1b", "2b", "1c"]);
        settle().await;
        assert_eq!((turns.waiting(), turns.state().running), (0, 0));
    }

    #[tokio::test]
    async fn whoever_gives_up_leaves_the_queue_and_takes_no_turn_along() {
        let turns = FairQueue::new(1);
        let first = turns.take(1, LONG).await.unwrap();
        let gone = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(2, LONG).await.map(drop) }
        });
        settle().await;
        assert_eq!(turns.waiting(), 1);
        gone.abort();
        let _ = gone.await;
        drop(first);
        assert_eq!((turns.waiting(), turns.state().running), (0, 0));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_refused_and_nobody_waits_longer_than_allowed() {
        let turns = FairQueue::new(1);
        let _first = turns.take(1, LONG).await.unwrap();
        assert_eq!(turns.take(2, Duration::from_millis(1)).await.unwrap_err(), Busy::Late);
        let mut waiting = tokio::task::JoinSet::new();
        for client in 0..MAX_WAITING as u64 {
            let turns = turns.clone();
            waiting.spawn(async move { turns.take(client, LONG).await.map(drop) });
        }
        settle().await;
        assert_eq!(turns.take(2, LONG).await.unwrap_err(), Busy::Full);
        waiting.shutdown().await;
        assert_eq!(turns.waiting(), 0);
    }

    #[tokio::test]
    async fn a_client_with_a_few_calls_gets_a_place_however_many_others_wait() {
        let turns = FairQueue::new(1);
        let first = turns.take(1, LONG).await.unwrap();
        let mut flood = tokio::task::JoinSet::new();
        for number in 0..MAX_WAITING {
            let turns = turns.clone();
            flood.spawn(async move { turns.take(number as u64 % 8, LONG).await.map(drop) });
        }
        settle().await;
        let late = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(99, LONG).await.map(drop) }
        });
        settle().await;
        assert_eq!(turns.waiting(), MAX_WAITING, "somebody has lost a place");
        assert_eq!(turns.take(7, LONG).await.unwrap_err(), Busy::Full, "whoever has his share gets no more");
        drop(first);
        assert_eq!(late.await.unwrap(), Ok(()));
        let ended: Vec<_> = flood.join_all().await;
        assert_eq!(ended.iter().filter(|ended| **ended == Err(Busy::Full)).count(), 1);
    }
}
