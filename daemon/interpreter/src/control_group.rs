//! Control groups (cgroup v2): a bound on the memory, the processes and the share of the processors of all of a slot's processes
//! together, kept by the kernel. Where there are none to be had, `memory` watches.

mod manager;
mod place;

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::Limits;
use place::{Place, controllers};

/// The group that this process itself moves to: a group that gives controllers to others may hold no processes.
const OWN: &str = "interpreter";
/// The one in which those of slots are, so that they are bounded together.
const SLOTS: &str = "slots";
const PREFIX: &str = "slot-";
const NEEDED: [&str; 2] = ["memory", "pids"];
/// So that what answers calls is not one of many. Each slot has 100.
const OWN_WEIGHT: &str = "1000";

/// Those that slots get, if this process has a group to make them in.
#[derive(Debug)]
pub struct ControlGroups {
    place: Result<Place, String>,
    /// Their controllers were taken back.
    lost: AtomicBool,
    next: AtomicU64,
    /// What they may hold together, as the kernel was told last.
    total: AtomicU64,
    /// Groups whose last process was still going when they were dropped.
    left: Mutex<Vec<PathBuf>>,
}

/// One slot's group, removed when dropped or soon after.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
    /// Whoever writes here joins.
    pub entrance: OwnedFd,
    groups: Arc<ControlGroups>,
}

impl ControlGroups {
    /// Takes a group of this process's own, or asks for one: that may take seconds. It has to be called before there are children.
    pub fn of_this_process() -> Self {
        let place = place::find().and_then(|place| prepare(&place.directory).map(|()| place));
        match &place {
            Ok(place) => {
                tracing::info!(directory = %place.directory.display(), of = place.what, "limits are kept by control groups");
            }
            Err(error) => tracing::info!(reason = %error, "no control groups: memory is watched instead"),
        }
        ControlGroups {
            place: place.map_err(|error| error.to_string()),
            lost: AtomicBool::new(false),
            next: AtomicU64::new(1),
            total: AtomicU64::new(0),
            left: Mutex::default(),
        }
    }

    /// Whether limits are kept by them, and whose they are or why there are none.
    pub fn describe(&self) -> (bool, String) {
        match &self.place {
            Ok(place) if self.lost.load(Ordering::Relaxed) => (false, format!("{} lost its controllers", place.what)),
            Ok(place) => (true, place.what.clone()),
            Err(reason) => (false, reason.clone()),
        }
    }

    /// None where memory is to be watched instead.
    pub fn make(self: &Arc<Self>, limits: &Limits) -> io::Result<Option<ControlGroup>> {
        let Ok(place) = &self.place else { return Ok(None) };
        self.remove_left();
        let made = match self.try_make(&place.directory, limits) {
            // Out of descriptors or memory.
            Err(error) if has_controllers(&place.directory.join(SLOTS)) => return Err(error),
            Err(_) => give_controllers(&place.directory).and_then(|()| self.try_make(&place.directory, limits)),
            made => made,
        };
        let was_lost = self.lost.swap(made.is_err(), Ordering::Relaxed);
        if let Err(error) = &made
            && !was_lost
        {
            tracing::warn!(directory = %place.directory.display(), %error, "the control group lost its controllers: memory is watched instead");
        }
        Ok(made.ok())
    }

    fn try_make(self: &Arc<Self>, directory: &Path, limits: &Limits) -> io::Result<ControlGroup> {
        let slots = directory.join(SLOTS);
        if self.total.swap(limits.total_memory, Ordering::Relaxed) != limits.total_memory {
            fs::write(slots.join("memory.max"), limits.total_memory.to_string())?;
        }
        let directory = slots.join(format!("{PREFIX}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&directory)?;
        let entrance = File::options().write(true).open(directory.join("cgroup.procs")).inspect_err(|_| {
            let _ = fs::remove_dir(&directory);
        })?;
        // From here on it is removed when something fails.
        let group = ControlGroup { entrance: entrance.into(), directory, groups: self.clone() };
        group.set("memory.max", &limits.memory.to_string())?;
        group.set("pids.max", &limits.processes.to_string())?;
        // A program that lost a part of itself would only be harder to understand.
        group.set("memory.oom.group", "1")?;
        // Not there where the machine has no swap.
        let _ = group.set("memory.swap.max", "0");
        Ok(group)
    }

    /// Removes the groups whose last processes have ended since they were let go.
    pub fn remove_left(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|directory| fs::remove_dir(directory).is_err_and(|error| error.kind() != io::ErrorKind::NotFound));
    }
}

impl ControlGroup {
    /// Whether the kernel has ended the program because of its memory.
    pub fn ran_out_of_memory(&self) -> bool {
        self.counted("memory.events", "oom_kill ")
    }

    /// Whether the kernel has refused a process or thread because there were too many.
    pub fn ran_out_of_processes(&self) -> bool {
        self.counted("pids.events", "max ")
    }

    /// Whether its programs share the processors with others as one, however many processes they are.
    pub fn shares_processors(&self) -> bool {
        self.directory.join("cpu.weight").exists()
    }

    /// Whether that was because of its own limit, and not of what all may hold together.
    pub fn was_full(&self) -> bool {
        self.counted("memory.events", "oom ")
    }

    /// What it holds; none where it does not bound memory any more, because whoever gave the controllers has taken them back.
    pub fn memory(&self) -> Option<u64> {
        fs::read_to_string(self.directory.join("memory.current")).ok()?.trim().parse().ok()
    }

    fn counted(&self, file: &str, what: &str) -> bool {
        let events = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        events.lines().find_map(|line| line.strip_prefix(what)).is_some_and(|number| number.trim() != "0")
    }

    fn set(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.directory.join(name), value)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        if fs::remove_dir(&self.directory).is_err() {
            let mut left = self.groups.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.push(std::mem::take(&mut self.directory));
        }
    }
}

/// Moves this process to a group of its own in `directory`, and has the rest be for slots.
fn prepare(directory: &Path) -> io::Result<()> {
    let (own, slots) = (directory.join(OWN), directory.join(SLOTS));
    for group in [&own, &slots] {
        match fs::create_dir(group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    for entry in fs::read_dir(&slots)?.filter_map(Result::ok) {
        // Of a predecessor that was killed.
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    fs::write(own.join("cgroup.procs"), "0")?;
    give_controllers(directory).inspect_err(|_| {
        let _ = fs::write(directory.join("cgroup.procs"), "0");
        let _ = fs::remove_dir(&own);
        let _ = fs::remove_dir(&slots);
    })?;
    // Not there without the controller.
    let _ = fs::write(own.join("cpu.weight"), OWN_WEIGHT);
    Ok(())
}

/// Has the groups in `directory`, and those of slots, be limited.
fn give_controllers(directory: &Path) -> io::Result<()> {
    for group in [directory, &directory.join(SLOTS)] {
        let control = group.join("cgroup.subtree_control");
        fs::write(&control, NEEDED.map(|name| format!("+{name}")).join(" "))?;
        // Where processors are not to be shared out, they are still bounded in time.
        let _ = fs::write(&control, "+cpu");
    }
    Ok(())
}

fn has_controllers(directory: &Path) -> bool {
    let given = controllers(&directory.join("cgroup.subtree_control"));
    given.is_ok_and(|given| NEEDED.iter().all(|needed| given.iter().any(|name| name == needed)))
}
