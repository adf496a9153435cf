//! Slots ahead of need: children that wait, isolated, so that a call finds one ready. As many wait as calls have lately come at once.
//! A workshop is one spawner process and its zygote; a slot belongs to the workshop that built it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::control_group::ControlGroups;
use crate::executor::{ExecuteError, Settings};
use crate::slot::{Output, Slot, SlotError};
use crate::spawner::Need;
use crate::workshop::Workshop;

/// Waiting children where nothing is known of the calls to come.
const FEWEST: usize = 2;
/// How long a call waits for what is short, as descriptors, and how long between two tries.
pub const PATIENCE: Duration = Duration::from_secs(10);
pub const PAUSE: Duration = Duration::from_millis(20);
/// How long a number of simultaneous calls is remembered.
const MEMORY: Duration = Duration::from_secs(60);
/// With less than this part of the memory available, no children are kept waiting.
const SCARCE: u64 = 16;

pub struct Pool {
    settings: Settings,
    groups: Option<Arc<ControlGroups>>,
    processors: usize,
    /// One look for Python at a time, however many calls wait for it.
    opening: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    workshop: Option<Arc<Workshop>>,
    waiting: VecDeque<(Slot, Output)>,
    /// Being built, to wait.
    building: usize,
    /// Taken and not yet given back.
    in_use: usize,
    /// The most in use lately, and since when that is remembered.
    peak: usize,
    peak_since: Option<Instant>,
    replacing: bool,
    /// Less memory is available than [`SCARCE`] says.
    scarce: bool,
}

/// How many slots there are.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Counts {
    pub waiting: usize,
    pub building: usize,
    pub in_use: usize,
}

/// A slot taken from the pool.
pub struct Taken {
    pub slot: Slot,
    pub output: Option<Output>,
    pool: Arc<Pool>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.pool.state().in_use -= 1;
        // At the very end of the process there is nothing left to run a task.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.pool.refill();
        }
    }
}

impl Pool {
    /// `groups` are this process's, of which there can be one only.
    pub fn new(settings: Settings, groups: Option<Arc<ControlGroups>>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Pool { settings, groups, processors, opening: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    pub fn groups(&self) -> Option<Arc<ControlGroups>> {
        self.groups.clone()
    }

    /// A slot whose child waits: one that is there, or one that is built now.
    pub async fn take(self: &Arc<Self>) -> Result<Taken, ExecuteError> {
        let waiting = {
            let mut state = self.state();
            state.drop_unusable();
            state.waiting.pop_front()
        };
        let (slot, output) = match waiting {
            Some(slot) => slot,
            None => self.build().await?,
        };
        slot.workshop.count_slot();
        let mut state = self.state();
        state.in_use += 1;
        if state.in_use >= state.peak {
            (state.peak, state.peak_since) = (state.in_use, Some(Instant::now()));
        }
        let empty = state.waiting.is_empty();
        drop(state);
        if empty {
            // The next call may come before this one has ended. Otherwise the processors are this one's first.
            self.refill();
        }
        Ok(Taken { slot, output: Some(output), pool: self.clone() })
    }

    /// Forgets `workshop`, with which something went wrong, if it is still the current one: the next slot comes from another, for
    /// which Python is looked for again, as it may have been upgraded.
    pub fn discard(&self, workshop: &Arc<Workshop>) {
        let mut state = self.state();
        if state.workshop.as_ref().is_some_and(|current| Arc::ptr_eq(current, workshop)) {
            state.workshop = None;
            state.waiting.clear();
        }
    }

    /// The workshop that slots come from, opened if there is none.
    pub async fn workshop(&self) -> Result<Arc<Workshop>, ExecuteError> {
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

    /// Called now and then: replaces what is worn or gone, and lets go of what is not needed.
    pub fn maintain(self: &Arc<Self>) {
        if let Some(groups) = &self.groups {
            groups.remove_left();
        }
        let mut state = self.state();
        state.scarce = memory_is_scarce();
        state.drop_unusable();
        if state.peak_since.is_some_and(|since| since.elapsed() > MEMORY) {
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

    async fn build(&self) -> Result<(Slot, Output), ExecuteError> {
        let deadline = Instant::now() + PATIENCE;
        let mut is_first = true;
        loop {
            let workshop = self.workshop().await?;
            match self.build_in(&workshop, Need::Now).await {
                // Others give back what is short when they end.
                Err(SlotError::Short(_)) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                // Gone between two calls, or just going: nothing has been run yet.
                Err(error) if is_first && !matches!(error, SlotError::Slow | SlotError::Short(_)) => {
                    tracing::debug!(%error, "a slot is asked for once more");
                    is_first = false;
                }
                built => return Ok(built?),
            }
            if let Some(waiting) = self.state().waiting.pop_front() {
                return Ok(waiting);
            }
        }
    }

    async fn build_in(&self, workshop: &Arc<Workshop>, need: Need) -> Result<(Slot, Output), SlotError> {
        // In a task of its own: a caller that gives up midway must not leave half a slot behind.
        let built = tokio::spawn(Slot::build(workshop.clone(), need)).await;
        let built = built.map_err(|error| SlotError::Io(error.into())).and_then(|built| built);
        if built.as_ref().is_err_and(|error| !matches!(error, SlotError::Short(_))) {
            self.discard(workshop);
        }
        built
    }

    /// Starts building what is missing. Without a workshop nothing: whoever calls next opens one, and hears what is wrong.
    fn refill(self: &Arc<Self>) {
        let mut state = self.state();
        let Some(workshop) = state.workshop.clone().filter(|workshop| !workshop.has_ended()) else { return };
        let wanted = state.wanted(self.settings.concurrency);
        // On a busy machine a rehearsal takes from other calls what it saves this one.
        let need = if state.in_use < self.processors { Need::Later } else { Need::Now };
        while state.waiting.len() + state.building < wanted {
            state.building += 1;
            tokio::spawn(add_waiting(self.clone(), workshop.clone(), need));
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

    /// Children that were killed from outside, and those of a workshop that is no longer the current one.
    fn drop_unusable(&mut self) {
        let current = self.workshop.clone().filter(|workshop| !workshop.has_ended());
        self.waiting.retain(|(slot, _)| {
            slot.is_waiting() && current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &slot.workshop))
        });
    }
}

async fn add_waiting(pool: Arc<Pool>, workshop: Arc<Workshop>, need: Need) {
    let built = pool.build_in(&workshop, need).await;
    let mut state = pool.state();
    state.building -= 1;
    match built {
        Ok(slot) => state.waiting.push_back(slot),
        // Many may fail together, and others give back what is short.
        Err(error @ SlotError::Short(_)) => tracing::debug!(%error, "a slot could not be built ahead of need"),
        // Whoever calls next tries again, and hears of it.
        Err(error) => tracing::warn!(%error, "a slot could not be built ahead of need"),
    }
}

/// Slots come from the old workshop until the new one is ready: no call waits.
async fn replace_workshop(pool: Arc<Pool>) {
    let _only_one = pool.opening.lock().await;
    {
        let mut state = pool.state();
        // A call that found none has opened one meanwhile.
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
            tracing::debug!("another Python takes over");
            state.workshop = Some(workshop);
        }
        Err(error) => {
            tracing::warn!(%error, "Python could not be replaced");
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
