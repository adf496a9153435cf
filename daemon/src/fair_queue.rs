//! Lets a number of executions run at once and queues further ones. Clients take turns, and share the places in the queue, however many
//! calls one of them makes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// The most calls that may wait. When the queue is full, a client takes a place from one that has more calls waiting; the call that loses
/// its place is refused.
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
    /// Clients with waiting calls, the next one first.
    clients: VecDeque<QueuedClient>,
}

#[derive(Debug)]
struct QueuedClient {
    key: u64,
    calls: VecDeque<oneshot::Sender<Turn>>,
}

/// The right to run, given back when dropped.
#[derive(Debug)]
pub struct Turn(Option<Arc<FairQueue>>);

/// Why a call may not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    #[error("{MAX_WAITING} calls are waiting, and this client has its share of them")]
    Full,
    #[error("its turn did not come within its time limit")]
    Late,
}

impl FairQueue {
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { places, ..State::default() }) })
    }

    /// Waits at most `deadline` for the turn of a call of the client `key`. Dropping the future gives up the place in the queue.
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
            // Another client took its place.
            Ok(Err(_)) => Err(Busy::Full),
            Err(_) => Err(Busy::Late),
        }
    }

    /// The number of waiting calls.
    pub fn waiting(&self) -> usize {
        let mut state = self.state();
        state.forget_those_who_gave_up();
        state.waiting
    }

    /// Changes how many run at once. Running calls go on.
    pub fn resize(self: &Arc<Self>, places: usize) {
        self.state().places = places;
        self.pass_on();
    }

    /// Lets waiting calls run as long as there is room.
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
            // It has given up. The turn goes to the next call, so it must not be returned by a drop here.
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
            None => self.clients.push_back(QueuedClient { key, calls: VecDeque::from([call]) }),
        }
    }

    /// Takes a place from the client with the most waiting calls, if that has more than `key` would then have.
    fn make_room_for(&mut self, key: u64) -> bool {
        let own = self.clients.iter().find(|client| client.key == key).map_or(0, |client| client.calls.len());
        let Some(heaviest) = self.clients.iter_mut().max_by_key(|client| client.calls.len()) else { return false };
        if heaviest.calls.len() <= own + 1 {
            return false;
        }
        // The last one, because it would wait longest.
        heaviest.calls.pop_back();
        self.waiting -= 1;
        true
    }

    /// The first call of the next client, which then becomes the last client.
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

    /// Runs other tasks until they wait.
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
