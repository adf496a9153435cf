//! Slots built ahead of need, so that a call finds a waiting child. As many wait as the largest number of simultaneous calls in the last minute. They all
//! come from the current workshop. When that is worn, or other modules were learned, the next one takes over once its own children wait.

mod workshops;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::channel::Need;
use crate::control_group::ControlGroups;
use crate::learning::Learning;
use crate::settings::Settings;
use crate::slot::{Slot, SlotError, WaitingChild};
use crate::spawner::SpawnerHandle;
use crate::workshop::{Lesson, Workshop, WorkshopError};
use workshops::{Next, Workshops};

/// Fewest slots that wait.
const FEWEST: usize = 2;
/// How long a call waits for a used-up resource, such as file descriptors.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries.
pub const PAUSE: Duration = Duration::from_millis(20);
/// How long the peak of simultaneous calls is remembered.
const PEAK_REMEMBERED: Duration = Duration::from_secs(60);
/// Without a call for so long, the interpreter is idle.
const IDLE: Duration = Duration::from_secs(1);
/// No slots wait while less than this fraction (1/16) of the machine's memory is available.
const SCARCE: u64 = 16;

pub struct Pool {
    settings: Settings,
    groups: Option<Arc<ControlGroups>>,
    cpus: usize,
    /// What programs import. `None` if the settings name all modules.
    learning: Option<Arc<Learning>>,
    /// Held while calls wait for a workshop, so that only one is opened.
    opening: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

type WaitingSlots = VecDeque<(Slot, WaitingChild)>;

#[derive(Default)]
struct State {
    workshops: Workshops,
    waiting: WaitingSlots,
    /// Slots that are being built in order to wait.
    building: usize,
    /// Slots that programs use, or that are being removed.
    in_use: usize,
    /// Those of them that are being removed.
    removing: usize,
    /// The most slots lately in use, and when they were.
    peak: usize,
    peak_since: Option<Instant>,
    /// When a call last began or ended.
    last_used: Option<Instant>,
    /// How many calls had to wait for their slot to be built.
    missed: u64,
    /// Little memory is available: see [`SCARCE`].
    scarce: bool,
}

/// Numbers of slots.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Counts {
    pub waiting: usize,
    pub building: usize,
    pub in_use: usize,
    /// Calls that found no waiting slot until now.
    pub missed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    #[error(transparent)]
    Slot(#[from] SlotError),
}

/// A slot taken from the pool, which counts as in use until this is dropped.
pub struct Taken {
    pub slot: Slot,
    pool: Arc<Pool>,
    is_over: bool,
}

impl Taken {
    /// Its program has ended, and the slot is being removed.
    pub fn is_over(&mut self) {
        self.is_over = true;
        self.pool.state().removing += 1;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        {
            let mut state = self.pool.state();
            state.in_use -= 1;
            state.removing -= usize::from(self.is_over);
            state.last_used = Some(Instant::now());
        }
        // When the process ends, the runtime may be gone already.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.pool.refill();
        }
    }
}

impl Pool {
    /// `groups` are the control groups of this process: there may be only one [`ControlGroups`].
    pub fn new(settings: Settings, groups: Option<Arc<ControlGroups>>, learning: Option<Arc<Learning>>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let state = Mutex::new(State { last_used: Some(Instant::now()), ..State::default() });
        Pool { settings, groups, cpus, learning, opening: tokio::sync::Mutex::default(), state }
    }

    pub fn groups(&self) -> Option<Arc<ControlGroups>> {
        self.groups.clone()
    }

    /// Takes a waiting slot, or builds one.
    pub async fn take(self: &Arc<Self>) -> Result<(Taken, WaitingChild), PoolError> {
        let waiting = {
            let mut state = self.state();
            state.drop_unusable();
            state.missed += u64::from(state.waiting.is_empty());
            state.waiting.pop_front()
        };
        let (slot, child) = match waiting {
            Some(slot) => slot,
            None => self.build().await?,
        };
        let mut state = self.state();
        state.workshops.count_slot(&slot.spawner);
        state.in_use += 1;
        state.last_used = Some(Instant::now());
        // Not those that are being removed: a single client whose calls follow each other at once needs no more waiting children than others.
        let running = state.in_use - state.removing;
        if running >= state.peak {
            (state.peak, state.peak_since) = (running, Some(Instant::now()));
        }
        let empty = state.waiting.is_empty();
        drop(state);
        if empty {
            // The next call may come before this one has ended. Otherwise refill later, and leave the CPUs to this call.
            self.refill();
        }
        Ok((Taken { slot, pool: self.clone(), is_over: false }, child))
    }

    /// Discards the workshop of `spawner`, if it is still the current one. The next slot comes from a new workshop, for which Python is
    /// searched again, because it may have been upgraded.
    pub fn discard(&self, spawner: &Arc<SpawnerHandle>) {
        let mut state = self.state();
        if state.workshops.is_current(spawner) {
            state.workshops.retire();
            state.waiting.clear();
        }
    }

    /// The current workshop. Opens one if there is none.
    pub async fn workshop(&self) -> Result<Arc<Workshop>, WorkshopError> {
        if let Some(workshop) = self.current() {
            return Ok(workshop);
        }
        let _only_one = self.opening.lock().await;
        if let Some(workshop) = self.current() {
            return Ok(workshop);
        }
        let lesson = self.learning.as_deref().map_or(Lesson::Nothing, Lesson::Fast);
        let workshop = Workshop::open(&self.settings, self.groups.clone(), lesson).await?;
        let mut state = self.state();
        // The next one may have taken over meanwhile.
        if let Some(current) = state.workshops.living() {
            return Ok(current.clone());
        }
        state.workshops.switch_to(workshop.clone());
        Ok(workshop)
    }

    /// The current workshop, unless it has ended.
    pub fn current(&self) -> Option<Arc<Workshop>> {
        self.state().workshops.living().cloned()
    }

    /// Whether there was no call for a moment.
    pub fn is_idle(&self) -> bool {
        self.state().is_idle()
    }

    pub fn counts(&self) -> Counts {
        let state = self.state();
        let State { building, in_use, missed, .. } = *state;
        Counts { waiting: state.waiting.len(), building, in_use, missed }
    }

    /// Called about once a second: opens the next workshop if the current one is worn or has ended, or if other modules were learned. Adjusts
    /// the number of waiting slots.
    pub fn maintain(self: &Arc<Self>) {
        if let Some(groups) = &self.groups {
            groups.remove_left();
        }
        let mut state = self.state();
        state.scarce = memory_is_scarce();
        state.drop_unusable();
        if state.peak_since.is_some_and(|since| since.elapsed() > PEAK_REMEMBERED) {
            (state.peak, state.peak_since) = (state.in_use - state.removing, None);
        }
        let wanted = state.wanted(self.settings.concurrency);
        while state.waiting.len() > wanted {
            state.waiting.pop_back();
        }
        let gone = state.workshops.has_ended();
        if gone {
            state.workshops.retire();
        }
        let is_idle = state.is_idle() && !state.scarce;
        let next = state.workshops.begin_next(self.learning.as_deref(), is_idle);
        drop(state);
        if gone {
            tokio::spawn(restart(self.clone()));
        }
        if let Some(next) = next {
            tokio::spawn(replace_workshop(self.clone(), next));
        }
        self.refill();
    }

    async fn build(&self) -> Result<(Slot, WaitingChild), PoolError> {
        let deadline = Instant::now() + PATIENCE;
        let mut is_first = true;
        loop {
            let workshop = self.workshop().await?;
            match self.build_in(&workshop.spawner, Need::Now).await {
                // Other executions free resources when they end.
                Err(SlotError::Short(_)) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                // The workshop may have ended between two calls. Nothing has been run yet, so it is safe to try again.
                Err(error) if is_first && !matches!(error, SlotError::Slow | SlotError::Short(_)) => {
                    tracing::debug!(%error, "building the slot again");
                    is_first = false;
                }
                built => return Ok(built?),
            }
            if let Some(waiting) = self.state().waiting.pop_front() {
                return Ok(waiting);
            }
        }
    }

    async fn build_in(&self, spawner: &Arc<SpawnerHandle>, need: Need) -> Result<(Slot, WaitingChild), SlotError> {
        // In a task of its own: a cancelled call must not leave a half-built slot behind.
        let built = tokio::spawn(Slot::build(spawner.clone(), need)).await;
        let built = built.map_err(|error| SlotError::Io(error.into())).and_then(|built| built);
        if built.as_ref().is_err_and(|error| !matches!(error, SlotError::Short(_))) {
            self.discard(spawner);
        }
        built
    }

    /// A new workshop, with waiting children of its own.
    async fn open_next(&self, next: Next) -> Result<(Arc<Workshop>, WaitingSlots), PoolError> {
        let current = self.current().map(|workshop| workshop.choice.clone()).unwrap_or_default();
        let lesson = match (&self.learning, next) {
            (None, _) => Lesson::Nothing,
            (Some(learning), Next::WithLearned) => Lesson::All(learning, &current),
            (Some(learning), Next::WithoutLearned) => Lesson::Fast(learning),
        };
        let workshop = Workshop::open(&self.settings, self.groups.clone(), lesson).await?;
        let mut waiting = WaitingSlots::new();
        let wanted = self.state().wanted(self.settings.concurrency);
        while waiting.len() < wanted {
            match Slot::build(workshop.spawner.clone(), Need::Later).await {
                Ok(slot) => waiting.push_back(slot),
                // The others are built later.
                Err(SlotError::Short(_)) if !waiting.is_empty() => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((workshop, waiting))
    }

    fn take_over(self: &Arc<Self>, next: Next, opened: Result<(Arc<Workshop>, WaitingSlots), PoolError>) {
        let mut state = self.state();
        let dropped = match opened {
            Ok((workshop, waiting)) => {
                tracing::debug!(waiting = waiting.len(), "a new Python replaces the old one");
                state.workshops.opened(next);
                state.workshops.switch_to(workshop);
                std::mem::replace(&mut state.waiting, waiting)
            }
            Err(error) => {
                state.workshops.failed(&error);
                WaitingSlots::new()
            }
        };
        drop(state);
        drop(dropped);
        self.refill();
    }

    /// Starts to build the slots that are missing. Does nothing without a workshop: the next call opens one, and gets its error.
    fn refill(self: &Arc<Self>) {
        let mut state = self.state();
        let Some(workshop) = state.workshops.living().cloned() else { return };
        let wanted = state.wanted(self.settings.concurrency);
        // When all CPUs are busy, skip the rehearsal (a trial run in the child, after which the program starts faster): it would slow down running
        // programs.
        let need = if state.in_use < self.cpus { Need::Later } else { Need::Now };
        while state.waiting.len() + state.building < wanted {
            state.building += 1;
            tokio::spawn(add_waiting(self.clone(), workshop.spawner.clone(), need));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.in_use == 0 && self.last_used.is_none_or(|last| last.elapsed() >= IDLE)
    }

    fn wanted(&self, most: usize) -> usize {
        if self.scarce { 0 } else { self.peak.clamp(FEWEST, most.max(FEWEST)) }
    }

    /// Drops slots whose child was killed from outside, and slots of any workshop but the current one.
    fn drop_unusable(&mut self) {
        let current = self.workshops.living().cloned();
        self.waiting.retain(|(slot, child)| {
            child.is_waiting() && current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.spawner, &slot.spawner))
        });
    }
}

async fn add_waiting(pool: Arc<Pool>, spawner: Arc<SpawnerHandle>, need: Need) {
    let built = pool.build_in(&spawner, need).await;
    let mut state = pool.state();
    state.building -= 1;
    match built {
        Ok(slot) if state.workshops.is_current(&spawner) => state.waiting.push_back(slot),
        // The next workshop has taken over.
        Ok(_) => {}
        // Common under load, and temporary.
        Err(error @ SlotError::Short(_)) => tracing::debug!(%error, "cannot build a slot ahead of need"),
        // The next call tries again, and reports the error.
        Err(error) => tracing::warn!(%error, "cannot build a slot ahead of need"),
    }
}

/// Opens a workshop in place of one that has ended, as a call would.
async fn restart(pool: Arc<Pool>) {
    match pool.workshop().await {
        Ok(_) => pool.refill(),
        // The next call tries again, and reports the error.
        Err(error) => tracing::warn!(%error, "cannot start Python again"),
    }
}

/// Opens the next workshop, which takes over when it has waiting children: no call waits for it. Until then the current one serves, and goes on
/// if this fails.
async fn replace_workshop(pool: Arc<Pool>, next: Next) {
    let opened = pool.open_next(next).await;
    pool.take_over(next, opened);
    if let Some(learning) = &pool.learning {
        learning.clone().write().await;
    }
}

fn memory_is_scarce() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().nth(1)?.parse().ok()
    };
    matches!((kilobytes("MemAvailable"), kilobytes("MemTotal")), (Some(free), Some(all)) if free < all / SCARCE)
}
