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
    with_learned: Failures,
    without_learned: Failures,
    /// When the latest workshop with other learned modules was begun.
    learned: Option<Instant>,
}

/// What the next workshop is to import beside the modules of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    WithLearned,
    WithoutLearned,
}

/// How often in succession workshops of one kind could not be opened, and when the next one is tried.
#[derive(Default)]
struct Failures {
    number: u32,
    tried_again: Option<Instant>,
}

impl Failures {
    fn are_waited_for(&self) -> bool {
        self.tried_again.is_some_and(|then| Instant::now() < then)
    }

    /// Only the first failure in a row is a warning.
    fn add(&mut self, error: &dyn Display) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.number.min(10)).min(LONGEST_PAUSE);
        self.tried_again = Some(Instant::now() + pause);
        self.number = self.number.saturating_add(1);
        let seconds = pause.as_secs();
        match self.number {
            1 => tracing::warn!(%error, "cannot open a new Python; the old one goes on, and it is tried again"),
            _ => tracing::debug!(%error, seconds, "cannot open a new Python"),
        }
    }
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
        // Whatever it has learned, this one shows that Python can be opened.
        self.without_learned = Failures::default();
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
        if self.opening_next {
            return None;
        }
        let retiring = self.retiring.iter().filter(|spawner| spawner.strong_count() > 0).count();
        let is_early = self.learned.is_some_and(|then| then.elapsed() < LEARNED_PAUSE);
        let has_learned = is_idle
            && retiring == 0
            && !self.with_learned.are_waited_for()
            && learning.is_some_and(|learning| {
                learning.was_cleared_since(&current.choice) || !is_early && learning.has_more_than(&current.choice)
            });
        let next = match (has_learned, current.is_worn()) {
            (true, _) => Next::WithLearned,
            // Learned modules may be the reason for a failure, and they make every retiring workshop larger.
            (false, true) if learning.is_some() && (self.with_learned.number > 0 || retiring > 1) => {
                Next::WithoutLearned
            }
            (false, true) => Next::WithLearned,
            (false, false) => return None,
        };
        if self.failures(next).are_waited_for() {
            return None;
        }
        if has_learned {
            self.learned = Some(Instant::now());
        }
        self.opening_next = true;
        Some(next)
    }

    pub fn opened(&mut self, next: Next) {
        self.opening_next = false;
        *self.failures(next) = Failures::default();
    }

    /// The current one goes on.
    pub fn failed(&mut self, next: Next, error: &dyn Display) {
        self.opening_next = false;
        self.failures(next).add(error);
        // The pause after a failure replaces `LEARNED_PAUSE`.
        self.learned = None;
    }

    fn failures(&mut self, next: Next) -> &mut Failures {
        match next {
            Next::WithLearned => &mut self.with_learned,
            Next::WithoutLearned => &mut self.without_learned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(failures: &Failures) -> u64 {
        failures.tried_again.map_or(0, |then| (then - Instant::now()).as_secs_f64().round() as u64)
    }

    #[test]
    fn the_pause_doubles_up_to_ten_minutes_and_each_kind_has_its_own() {
        let mut workshops = Workshops::default();
        for pause in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
            workshops.failed(Next::WithLearned, &"reason");
            assert_eq!(seconds(&workshops.with_learned), pause);
        }
        workshops.failed(Next::WithoutLearned, &"reason");
        assert_eq!((seconds(&workshops.with_learned), seconds(&workshops.without_learned)), (600, 5));
        workshops.opened(Next::WithoutLearned);
        assert!(workshops.with_learned.are_waited_for() && !workshops.without_learned.are_waited_for());
        workshops.opened(Next::WithLearned);
        assert_eq!((workshops.with_learned.number, seconds(&workshops.with_learned)), (0, 0));
    }
}
