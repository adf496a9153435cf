//! Slots built ahead of need, so that a call finds a waiting child. As many wait as calls came at once in the last minute, at the same time or in a
//! row. They all come from the current workshop. When that is worn, or other modules were learned, the next one takes over once its own children
//! wait.

mod demand;
mod workshops;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::channel::Rehearsal;
use crate::control_group::ControlGroups;
use crate::learning::Learning;
use crate::settings::Settings;
use crate::slot::{Slot, SlotError, WaitingChild};
use crate::spawner::SpawnerHandle;
use crate::workshop::{Lesson, Workshop, WorkshopError};
use demand::{Demand, FEWEST, QUIET};
use workshops::{Next, Workshops};

/// How long a call waits for a used-up resource, such as file descriptors.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries.
pub const PAUSE: Duration = Duration::from_millis(20);
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

struct State {
    workshops: Workshops,
    /// The newest last: it is taken first, because the caches still hold it.
    waiting: WaitingSlots,
    /// Slots that are being built in order to wait.
    building: usize,
    /// A refill waits until it is quiet.
    refill_later: bool,
    demand: Demand,
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
    is_being_removed: bool,
}

impl Taken {
    /// Its program has ended, and the slot is being removed.
    pub fn begin_removal(&mut self) {
        if !std::mem::replace(&mut self.is_being_removed, true) {
            self.pool.state().demand.begin_removal();
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.pool.state().demand.end(self.is_being_removed);
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
        let state = State {
            workshops: Workshops::default(),
            waiting: WaitingSlots::new(),
            building: 0,
            refill_later: false,
            demand: Demand::new(),
            missed: 0,
            scarce: false,
        };
        Pool { settings, groups, cpus, learning, opening: tokio::sync::Mutex::default(), state: Mutex::new(state) }
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
            state.waiting.pop_back()
        };
        let (slot, child) = match waiting {
            Some(slot) => slot,
            None => self.build().await?,
        };
        let mut state = self.state();
        state.workshops.count_slot(&slot.spawner);
        state.demand.begin();
        drop(state);
        self.refill();
        Ok((Taken { slot, pool: self.clone(), is_being_removed: false }, child))
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
        self.state().demand.is_idle()
    }

    pub fn counts(&self) -> Counts {
        let state = self.state();
        let State { building, missed, .. } = *state;
        Counts { waiting: state.waiting.len(), building, in_use: state.demand.in_use(), missed }
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
        state.demand.forget_what_is_old();
        let wanted = state.wanted(self.settings.concurrency);
        while state.waiting.len() > wanted {
            state.waiting.pop_front();
        }
        let gone = state.workshops.has_ended();
        if gone {
            state.workshops.retire();
        }
        let is_idle = state.demand.is_idle() && !state.scarce;
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
            match self.build_in(&workshop.spawner, Rehearsal::Nothing).await {
                // Other executions free resources when they end.
                Err(SlotError::Short(_)) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                // The workshop may have ended between two calls. Nothing has been run yet, so it is safe to try again.
                Err(error) if is_first && !matches!(error, SlotError::Slow | SlotError::Short(_)) => {
                    tracing::debug!(%error, "building the slot again");
                    is_first = false;
                }
                built => return Ok(built?),
            }
            if let Some(waiting) = self.state().waiting.pop_back() {
                return Ok(waiting);
            }
        }
    }

    async fn build_in(
        &self,
        spawner: &Arc<SpawnerHandle>,
        rehearsal: Rehearsal,
    ) -> Result<(Slot, WaitingChild), SlotError> {
        // In a task of its own: a cancelled call must not leave a half-built slot behind.
        let built = tokio::spawn(Slot::build(spawner.clone(), rehearsal)).await;
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
            match Slot::build(workshop.spawner.clone(), rehearsal(waiting.len(), wanted)).await {
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
                state.workshops.failed(next, &error);
                WaitingSlots::new()
            }
        };
        drop(state);
        drop(dropped);
        self.refill();
    }

    /// Starts to build the slots that are missing. One for each running call is built at once, since another may follow it; the rest when it is quiet.
    /// Does nothing without a workshop: the next call opens one, and gets its error.
    fn refill(self: &Arc<Self>) {
        let mut state = self.state();
        let Some(workshop) = state.workshops.living().cloned() else { return };
        let most = self.settings.concurrency;
        let wanted = state.wanted(most);
        let now = wanted.min(state.demand.wanted_now(most));
        // Without a rehearsal the child is ready sooner, and running programs have the CPUs.
        let is_time = state.demand.is_quiet() && state.demand.in_use() < self.cpus;
        while state.waiting.len() + state.building < now {
            let rehearsal = match is_time {
                true => rehearsal(state.waiting.len() + state.building, wanted),
                false => Rehearsal::Nothing,
            };
            state.building += 1;
            tokio::spawn(add_waiting(self.clone(), workshop.spawner.clone(), rehearsal));
        }
        if state.waiting.len() + state.building < wanted && !state.refill_later {
            state.refill_later = true;
            tokio::spawn(refill_when_quiet(self.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wanted(&self, most: usize) -> usize {
        if self.scarce { 0 } else { self.demand.wanted(most) }
    }

    /// Drops slots whose child was killed from outside, and slots of any workshop but the current one.
    fn drop_unusable(&mut self) {
        let current = self.workshops.living().cloned();
        self.waiting.retain(|(slot, child)| {
            child.is_waiting() && current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.spawner, &slot.spawner))
        });
    }
}

/// What the next of `wanted` children rehearses where so many wait already. The first ones serve only calls in a row. Without imports they take half
/// the memory.
fn rehearsal(waiting: usize, wanted: usize) -> Rehearsal {
    if waiting + FEWEST < wanted { Rehearsal::Program } else { Rehearsal::Imports }
}

async fn add_waiting(pool: Arc<Pool>, spawner: Arc<SpawnerHandle>, rehearsal: Rehearsal) {
    let built = pool.build_in(&spawner, rehearsal).await;
    let mut state = pool.state();
    state.building -= 1;
    match built {
        Ok(slot) if state.workshops.is_current(&spawner) => state.waiting.push_back(slot),
        // The next workshop has taken over, and counted this one as its own.
        Ok(old) => {
            drop(state);
            drop(old);
            pool.refill();
        }
        // Common under load, and temporary.
        Err(error @ SlotError::Short(_)) => tracing::debug!(%error, "cannot build a slot ahead of need"),
        // The next call tries again, and reports the error.
        Err(error) => tracing::warn!(%error, "cannot build a slot ahead of need"),
    }
}

async fn refill_when_quiet(pool: Arc<Pool>) {
    let mut pause = QUIET;
    while !pause.is_zero() {
        tokio::time::sleep(pause).await;
        pause = pool.state().demand.until_quiet();
    }
    pool.state().refill_later = false;
    pool.refill();
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
    // In a task of its own: after a panic it is tried again.
    let opening = pool.clone();
    let opened = tokio::spawn(async move { opening.open_next(next).await }).await;
    pool.take_over(next, opened.unwrap_or_else(|panicked| Err(SlotError::Io(panicked.into()).into())));
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
