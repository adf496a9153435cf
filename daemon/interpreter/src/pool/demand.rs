//! How many calls come at once, and so how many slots should wait.

use std::time::{Duration, Instant};

/// Fewest slots that wait.
pub const FEWEST: usize = 2;
/// Most slots that wait because calls came in a row.
const LONGEST_ROW: usize = 8;
/// When no call has begun or been answered for so long, the CPUs are free for slots that are not needed at once.
pub const QUIET: Duration = Duration::from_millis(5);
/// How long it is remembered how many calls came at once.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Without a call for so long, the interpreter is idle.
const IDLE: Duration = Duration::from_secs(1);

pub struct Demand {
    /// Slots that programs use, or that are being removed.
    in_use: usize,
    /// Those of them that are being removed.
    removing: usize,
    /// How many calls came in a row until now, each before it was quiet.
    row: usize,
    /// The most calls that lately came at once, at the same time or in a row, and when they did.
    peak: usize,
    peak_since: Option<Instant>,
    /// When a call last began or was answered, or its slot was gone.
    last_used: Instant,
}

impl Demand {
    pub fn new() -> Self {
        Demand { in_use: 0, removing: 0, row: 0, peak: 0, peak_since: None, last_used: Instant::now() }
    }

    /// A call begins.
    pub fn begin(&mut self) {
        self.in_use += 1;
        self.row = if self.row == 0 || self.is_quiet() { 1 } else { (self.row + 1).min(LONGEST_ROW) };
        self.last_used = Instant::now();
        let at_once = self.running().max(self.row);
        if at_once >= self.peak {
            (self.peak, self.peak_since) = (at_once, Some(Instant::now()));
        }
    }

    /// The slot of a call is being removed from now on.
    pub fn begin_removal(&mut self) {
        self.removing += 1;
        self.last_used = Instant::now();
    }

    /// The slot of a call is gone.
    pub fn end(&mut self, was_being_removed: bool) {
        self.in_use -= 1;
        self.removing -= usize::from(was_being_removed);
        self.last_used = Instant::now();
    }

    pub fn forget_what_is_old(&mut self) {
        if self.peak_since.is_some_and(|since| since.elapsed() > REMEMBERED) {
            (self.peak, self.peak_since) = (self.running(), None);
        }
    }

    /// How many slots should wait, where `most` calls may run at the same time.
    pub fn wanted(&self, most: usize) -> usize {
        self.peak.clamp(FEWEST, most.max(FEWEST))
    }

    /// How many of them must be ready at once: one for each running call, which another may follow.
    pub fn wanted_now(&self, most: usize) -> usize {
        if self.is_quiet() { self.wanted(most) } else { self.wanted(most).min(self.running().max(1)) }
    }

    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// Calls whose programs run.
    pub fn running(&self) -> usize {
        self.in_use - self.removing
    }

    pub fn is_quiet(&self) -> bool {
        self.until_quiet().is_zero()
    }

    pub fn until_quiet(&self) -> Duration {
        QUIET.saturating_sub(self.last_used.elapsed())
    }

    pub fn is_idle(&self) -> bool {
        self.in_use == 0 && self.last_used.elapsed() >= IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(demand: &mut Demand) {
        demand.begin();
        demand.begin_removal();
        demand.end(true);
    }

    /// As if so much time had passed.
    fn pass(demand: &mut Demand, time: Duration) {
        demand.last_used -= time;
        demand.peak_since = demand.peak_since.map(|since| since - time);
    }

    #[test]
    fn as_many_wait_as_calls_came_in_a_row() {
        let mut demand = Demand::new();
        assert_eq!(demand.wanted(99), FEWEST);
        for _ in 0..5 {
            call(&mut demand);
        }
        assert_eq!((demand.wanted(99), demand.wanted(4)), (5, 4));
        for _ in 0..5 {
            pass(&mut demand, QUIET);
            call(&mut demand);
        }
        assert_eq!(demand.wanted(99), 5, "the row is remembered");
        for _ in 0..20 {
            call(&mut demand);
        }
        assert_eq!(demand.wanted(99), LONGEST_ROW);
        pass(&mut demand, 2 * REMEMBERED);
        demand.forget_what_is_old();
        assert_eq!(demand.wanted(99), FEWEST);
    }

    #[test]
    fn a_call_that_comes_before_the_slot_of_the_last_is_gone_is_in_its_row() {
        let mut demand = Demand::new();
        for _ in 0..5 {
            demand.begin();
            // The program runs.
            pass(&mut demand, 2 * QUIET);
            demand.begin_removal();
        }
        assert_eq!((demand.running(), demand.wanted(99)), (0, 5));
    }

    #[test]
    fn as_many_wait_as_programs_ran_at_the_same_time() {
        let mut demand = Demand::new();
        for _ in 0..20 {
            pass(&mut demand, QUIET);
            demand.begin();
        }
        assert_eq!((demand.wanted(99), demand.wanted(12)), (20, 12));
        for _ in 0..15 {
            demand.begin_removal();
        }
        assert_eq!((demand.running(), demand.in_use()), (5, 20));
        pass(&mut demand, 2 * REMEMBERED);
        demand.forget_what_is_old();
        assert_eq!(demand.wanted(99), 5, "those that are being removed are no calls");
    }

    #[test]
    fn until_it_is_quiet_only_what_may_be_needed_at_once_is_wanted() {
        let mut demand = Demand::new();
        for _ in 0..6 {
            call(&mut demand);
        }
        assert_eq!(demand.wanted_now(99), 1);
        (0..3).for_each(|_| demand.begin());
        assert_eq!(demand.wanted_now(99), 3);
        pass(&mut demand, QUIET);
        assert_eq!(demand.wanted_now(99), LONGEST_ROW);
        assert!(!demand.is_idle());
        (0..3).for_each(|_| demand.end(false));
        pass(&mut demand, IDLE);
        assert!(demand.is_idle());
    }
}
