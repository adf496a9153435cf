//! Slots built ahead of need, so that a call finds a waiting child. As many wait as the largest number of simultaneous calls in the last minute. They all
//! come from the current workshop, which is replaced when it is worn or has ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::channel::Need;
use crate::control_group::ControlGroups;
use crate::settings::Settings;
use crate::slot::{Slot, SlotError, WaitingChild};
use crate::spawner::SpawnerHandle;
use crate::workshop::{Workshop, WorkshopError};

/// Fewest slots that wait.
const FEWEST: usize = 2;
/// How long a call waits for a used-up resource, such as file descriptors.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries.
pub const PAUSE: Duration = Duration::from_millis(20);
/// How long the peak of simultaneous calls is remembered.
const PEAK_REMEMBERED: Duration = Duration::from_secs(60);
/// No slots wait while less than this fraction (1/16) of the machine's memory is available.
const SCARCE: u64 = 16;

pub struct Pool {
    settings: Settings,
    groups: Option<Arc<ControlGroups>>,
    cpus: usize,
    /// Held while a workshop is opened, so that only one is.
    opening: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    workshop: Option<Arc<Workshop>>,
    waiting: VecDeque<(Slot, WaitingChild)>,
    /// Slots that are being built in order to wait.
    building: usize,
    /// Slots that programs use, or that are being removed.
    in_use: usize,
    /// The most slots lately in use, and when they were.
    peak: usize,
    peak_since: Option<Instant>,
    replacing: bool,
    /// Little memory is available: see [`SCARCE`].
    scarce: bool,
}

/// Numbers of slots.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Counts {
    pub waiting: usize,
    pub building: usize,
    pub in_use: usize,
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
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.pool.state().in_use -= 1;
        // When the process ends, the runtime may be gone already.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.pool.refill();
        }
    }
}

impl Pool {
    /// `groups` are the control groups of this process: there may be only one [`ControlGroups`].
    pub fn new(settings: Settings, groups: Option<Arc<ControlGroups>>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Pool { settings, groups, cpus, opening: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    pub fn groups(&self) -> Option<Arc<ControlGroups>> {
        self.groups.clone()
    }

    /// Takes a waiting slot, or builds one.
    pub async fn take(self: &Arc<Self>) -> Result<(Taken, WaitingChild), PoolError> {
        let waiting = {
            let mut state = self.state();
            state.drop_unusable();
            state.waiting.pop_front()
        };
        let (slot, child) = match waiting {
            Some(slot) => slot,
            None => self.build().await?,
        };
        let mut state = self.state();
        if let Some(workshop) = state.workshop.as_ref().filter(|workshop| Arc::ptr_eq(&workshop.spawner, &slot.spawner))
        {
            workshop.count_slot();
        }
        state.in_use += 1;
        if state.in_use >= state.peak {
            (state.peak, state.peak_since) = (state.in_use, Some(Instant::now()));
        }
        let empty = state.waiting.is_empty();
        drop(state);
        if empty {
            // The next call may come before this one has ended. Otherwise refill later, and leave the CPUs to this call.
            self.refill();
        }
        Ok((Taken { slot, pool: self.clone() }, child))
    }

    /// Discards the workshop of `spawner`, if it is still the current one. The next slot comes from a new workshop, for which Python is
    /// searched again, because it may have been upgraded.
    pub fn discard(&self, spawner: &Arc<SpawnerHandle>) {
        let mut state = self.state();
        if state.workshop.as_ref().is_some_and(|current| Arc::ptr_eq(&current.spawner, spawner)) {
            state.workshop = None;
            state.waiting.clear();
        }
    }

    /// The current workshop. Opens one if there is none.
    pub async fn workshop(&self) -> Result<Arc<Workshop>, WorkshopError> {
        let current = |state: &State| state.workshop.clone().filter(|workshop| !workshop.has_ended());
        if let Some(workshop) = current(&self.state()) {
            return Ok(workshop);
        }
        let _only_one = self.opening.lock().await;
        if let Some(workshop) = current(&self.state()) {
            return Ok(workshop);
        }
        let workshop = Workshop::open(&self.settings, self.groups.clone()).await?;
        self.state().workshop = Some(workshop.clone());
        Ok(workshop)
    }

    pub fn counts(&self) -> Counts {
        let state = self.state();
        Counts { waiting: state.waiting.len(), building: state.building, in_use: state.in_use }
    }

    /// Called about once a second: replaces a workshop that is worn or has ended, and adjusts the number of waiting slots.
    pub fn maintain(self: &Arc<Self>) {
        if let Some(groups) = &self.groups {
            groups.remove_left();
        }
        let mut state = self.state();
        state.scarce = memory_is_scarce();
        state.drop_unusable();
        if state.peak_since.is_some_and(|since| since.elapsed() > PEAK_REMEMBERED) {
            (state.peak, state.peak_since) = (state.in_use, None);
        }
        let wanted = state.wanted(self.settings.concurrency);
        while state.waiting.len() > wanted {
            state.waiting.pop_back();
        }
        let gone = state.workshop.as_ref().is_some_and(|workshop| workshop.has_ended());
        let worn = state.workshop.as_ref().is_some_and(|workshop| workshop.is_worn());
        let replace = (gone || worn) && !state.replacing;
        state.replacing |= replace;
        drop(state);
        if replace {
            tokio::spawn(replace_workshop(self.clone()));
        } else {
            self.refill();
        }
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

    /// Starts to build the slots that are missing. Does nothing without a workshop: the next call opens one, and gets its error.
    fn refill(self: &Arc<Self>) {
        let mut state = self.state();
        let Some(workshop) = state.workshop.clone().filter(|workshop| !workshop.has_ended()) else { return };
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
    fn wanted(&self, most: usize) -> usize {
        if self.scarce { 0 } else { self.peak.clamp(FEWEST, most.max(FEWEST)) }
    }

    /// Drops slots whose child was killed from outside, and slots of any workshop but the current one.
    fn drop_unusable(&mut self) {
        let current = self.workshop.clone().filter(|workshop| !workshop.has_ended());
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
        Ok(slot) => state.waiting.push_back(slot),
        // Common under load, and temporary.
        Err(error @ SlotError::Short(_)) => tracing::debug!(%error, "cannot build a slot ahead of need"),
        // The next call tries again, and reports the error.
        Err(error) => tracing::warn!(%error, "cannot build a slot ahead of need"),
    }
}

/// Opens a new workshop. A worn one goes on serving meanwhile, so that no call waits. If the old one has ended, calls wait.
async fn replace_workshop(pool: Arc<Pool>) {
    let _only_one = pool.opening.lock().await;
    {
        let mut state = pool.state();
        // A call may have opened a new one meanwhile.
        if state.workshop.as_ref().is_some_and(|workshop| !workshop.has_ended() && !workshop.is_worn()) {
            state.replacing = false;
            return;
        }
    }
    let opened = Workshop::open(&pool.settings, pool.groups.clone()).await;
    let mut state = pool.state();
    state.replacing = false;
    match opened {
        Ok(workshop) => {
            tracing::debug!("a new Python replaces the old one");
            state.workshop = Some(workshop);
        }
        Err(error) => {
            tracing::warn!(%error, "cannot replace Python");
            state.workshop = None;
        }
    }
    state.drop_unusable();
    drop(state);
    pool.refill();
}

fn memory_is_scarce() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().nth(1)?.parse().ok()
    };
    matches!((kilobytes("MemAvailable"), kilobytes("MemTotal")), (Some(free), Some(all)) if free < all / SCARCE)
}
