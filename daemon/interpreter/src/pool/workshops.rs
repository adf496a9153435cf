//! The workshops that live: the current one, from which slots come, and those that retire, because something still uses their slots.

use std::fmt::Display;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::learning::Learning;
use crate::spawner::SpawnerHandle;
use crate::workshop::Workshop;

/// Shortest time between two workshops that differ in what was learned.
const LEARNED_PAUSE: Duration = Duration::from_secs(30);
/// How long it waits after the first failure to open the next workshop. Twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

#[derive(Default)]
pub struct Workshops {
    current: Option<Arc<Workshop>>,
    /// Earlier ones.
    retiring: Vec<Weak<SpawnerHandle>>,
    /// The next one is being opened.
    opening_next: bool,
    /// How often in succession the next one could not be opened, and when it is tried again.
    failures: u32,
    tried_again: Option<Instant>,
    /// The latest one with learned modules could not be opened.
    learned_failed: bool,
    /// When the latest workshop with other learned modules was begun.
    learned: Option<Instant>,
}

/// What the next workshop is to import beside the modules of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    WithLearned,
    WithoutLearned,
}

impl Workshops {
    /// The current one, unless it has ended.
    pub fn living(&self) -> Option<&Arc<Workshop>> {
        self.current.as_ref().filter(|workshop| !workshop.has_ended())
    }

    pub fn has_ended(&self) -> bool {
        self.current.as_ref().is_some_and(|workshop| workshop.has_ended())
    }

    /// Counts a slot of `spawner` that a program gets.
    pub fn count_slot(&self, spawner: &Arc<SpawnerHandle>) {
        if let Some(current) = self.current.as_ref().filter(|workshop| Arc::ptr_eq(&workshop.spawner, spawner)) {
            current.count_slot();
        }
    }

    /// Whether slots of `spawner` are of the current one, which may have ended.
    pub fn is_current(&self, spawner: &Arc<SpawnerHandle>) -> bool {
        self.current.as_ref().is_some_and(|workshop| Arc::ptr_eq(&workshop.spawner, spawner))
    }

    /// From now on slots come from `next`.
    pub fn switch_to(&mut self, next: Arc<Workshop>) {
        (self.failures, self.tried_again) = (0, None);
        self.retire();
        next.take_over();
        self.current = Some(next);
    }

    /// There is no current one any more.
    pub fn retire(&mut self) {
        self.retiring.retain(|spawner| spawner.strong_count() > 0);
        self.retiring.extend(self.current.take().map(|workshop| Arc::downgrade(&workshop.spawner)));
    }

    /// Whether the next one is to be opened now, while the current one serves. Then [`Self::opened`] or [`Self::failed`] must follow.
    pub fn begin_next(&mut self, learning: Option<&Learning>, is_idle: bool) -> Option<Next> {
        let current = self.living()?;
        if self.opening_next || self.tried_again.is_some_and(|then| Instant::now() < then) {
            return None;
        }
        let retiring = self.retiring.iter().filter(|spawner| spawner.strong_count() > 0).count();
        let is_early = self.learned.is_some_and(|then| then.elapsed() < LEARNED_PAUSE);
        let has_learned = is_idle
            && retiring == 0
            && learning.is_some_and(|learning| {
                learning.was_cleared_since(&current.choice) || !is_early && learning.has_more_than(&current.choice)
            });
        let next = match (has_learned, current.is_worn()) {
            (true, _) => Next::WithLearned,
            // Learned modules may be the reason for a failure, and they make every retiring workshop larger.
            (false, true) if learning.is_some() && (self.learned_failed || retiring > 1) => Next::WithoutLearned,
            (false, true) => Next::WithLearned,
            (false, false) => return None,
        };
        if has_learned {
            self.learned = Some(Instant::now());
        }
        self.opening_next = true;
        Some(next)
    }

    pub fn opened(&mut self, next: Next) {
        self.opening_next = false;
        self.learned_failed &= next == Next::WithoutLearned;
    }

    /// The current one goes on. Only the first failure in a row is a warning.
    pub fn failed(&mut self, next: Next, error: &dyn Display) {
        self.opening_next = false;
        self.learned_failed |= next == Next::WithLearned;
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        // The pause after a failure replaces `LEARNED_PAUSE`.
        (self.tried_again, self.learned) = (Some(Instant::now() + pause), None);
        self.failures = self.failures.saturating_add(1);
        let seconds = pause.as_secs();
        match self.failures {
            1 => tracing::warn!(%error, "cannot open a new Python; the old one goes on, and it is tried again"),
            _ => tracing::debug!(%error, seconds, "cannot open a new Python"),
        }
    }
}
