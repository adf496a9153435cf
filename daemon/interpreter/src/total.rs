//! The memory of all slots together. A call that could exceed the limit waits. If running programs exceed it, the one that uses most is
//! killed: by the kernel if control groups keep the limits, else by the watcher of its memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

/// A program counts with all the memory that it may use until it is this old, because it has not been measured yet.
const UNKNOWN: Duration = Duration::from_millis(250);
/// Longest pause between two tries of a call that waits.
const INTERVAL: Duration = Duration::from_millis(100);

pub struct TotalMemory {
    limit: AtomicU64,
    slots: Mutex<Slots>,
    /// Notified when a program has ended.
    freed: Notify,
    /// Lets waiting calls continue in the order in which they came.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Slots {
    held: BTreeMap<u64, Held>,
    next: u64,
    waiting: usize,
}

struct Held {
    bytes: u64,
    /// Memory shared between processes, or with the zygote, is counted only once. Otherwise `bytes` is an upper bound.
    exact: bool,
    since: Instant,
    /// Its limit, in bytes.
    most: u64,
}

/// A running program's share of the memory, released on drop.
pub struct Share {
    id: u64,
    total: Arc<TotalMemory>,
}

impl TotalMemory {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(TotalMemory {
            limit: AtomicU64::new(limit),
            slots: Mutex::default(),
            freed: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Waits until a program that may use `most` bytes fits. A single program always does. `None` after `deadline`.
    pub async fn admit(self: &Arc<Self>, most: u64, deadline: Duration) -> Option<Share> {
        let _waits = Waits::start(self);
        let admitted = async {
            let _turn = self.turn.lock().await;
            loop {
                if let Some(share) = self.try_admit(most) {
                    return share;
                }
                let _ = timeout(INTERVAL, self.freed.notified()).await;
            }
        };
        timeout(deadline, admitted).await.ok()
    }

    /// Changes the limit.
    pub fn change(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many calls wait.
    pub fn waiting(&self) -> usize {
        self.slots().waiting
    }

    fn try_admit(self: &Arc<Self>, most: u64) -> Option<Share> {
        let mut slots = self.slots();
        let expected = |held: &Held| if held.since.elapsed() < UNKNOWN { held.most } else { held.bytes };
        let expected = slots.held.values().map(expected).fold(most, u64::saturating_add);
        if !slots.held.is_empty() && expected > self.limit() {
            return None;
        }
        let id = slots.next;
        slots.next += 1;
        slots.held.insert(id, Held { bytes: 0, exact: true, since: Instant::now(), most });
        Some(Share { id, total: self.clone() })
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// How many bytes this program may use until all programs together exceed the limit.
    pub fn room(&self) -> u64 {
        let slots = self.total.slots();
        let others = slots.held.iter().filter(|(id, _)| **id != self.id).map(|(_, held)| held.bytes);
        self.total.limit().saturating_sub(others.fold(0, u64::saturating_add))
    }

    /// Records the program's memory. True if all programs together certainly exceed the limit, and this one uses the most.
    pub fn holds(&self, bytes: u64, exact: bool) -> bool {
        let mut slots = self.total.slots();
        if let Some(held) = slots.held.get_mut(&self.id) {
            (held.bytes, held.exact) = (bytes, exact);
        }
        let all = slots.held.values().map(|held| held.bytes).fold(0, u64::saturating_add);
        let is_certain = slots.held.values().all(|held| held.exact);
        let is_largest = slots.held.iter().all(|(id, held)| (held.bytes, *id) <= (bytes, self.id));
        all > self.total.limit() && is_certain && is_largest
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.slots().held.remove(&self.id);
        self.total.freed.notify_one();
    }
}

/// Counts a waiting call until it is dropped.
struct Waits<'a>(&'a TotalMemory);

impl<'a> Waits<'a> {
    fn start(total: &'a TotalMemory) -> Self {
        total.slots().waiting += 1;
        Waits(total)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.slots().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::TotalMemory;

    const NEVER: Duration = Duration::ZERO;

    #[tokio::test]
    async fn one_alone_is_always_admitted() {
        let total = TotalMemory::new(10);
        let share = total.admit(100, NEVER).await;
        assert!(share.is_some() && total.admit(1, NEVER).await.is_none());
        drop(share);
        assert!(total.admit(100, NEVER).await.is_some());
    }

    #[tokio::test]
    async fn the_largest_pays_and_only_when_it_is_certain() {
        let total = TotalMemory::new(100);
        let (small, large) = (total.admit(50, NEVER).await.unwrap(), total.admit(50, NEVER).await.unwrap());
        assert!(!small.holds(40, false) && !large.holds(70, true), "the small one may hold less");
        assert!(!small.holds(35, true) && large.holds(70, true));
        assert_eq!((small.room(), large.room()), (30, 65));
        drop(large);
        assert!(!small.holds(90, true));
    }
}
