//! Control groups (cgroup v2): the kernel bounds the memory, the number and the CPU share of all of a slot's processes together. Without
//! them, `memory` watches the slot's memory.

mod hierarchy;
mod manager;
mod place;

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::Limits;
use place::{NEEDED, Place, controllers};

/// The group to which this process itself moves: a group that passes controllers on to others may contain no processes.
const OWN: &str = "interpreter";
/// The parent of the slots' groups, so that they are bounded together.
const SLOTS: &str = "slots";
const PREFIX: &str = "slot-";
/// CPU weight of the interpreter, so that it stays responsive beside many slots. Each slot has 100.
const OWN_WEIGHT: &str = "1000";

/// Makes the slots' groups, if this process has a place to make them in.
#[derive(Debug)]
pub struct ControlGroups {
    place: Result<Place, String>,
    /// The controllers were removed from the place.
    lost: AtomicBool,
    next: AtomicU64,
    /// The memory limit of all slots together that was written last, in bytes.
    total: AtomicU64,
    /// Groups that could not be removed when they were dropped, because a process was still ending.
    left: Mutex<Vec<PathBuf>>,
}

/// One slot's group. It is removed when this is dropped, or soon after.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
    /// `cgroup.procs`: a process that writes 0 to it joins the group.
    pub entrance: OwnedFd,
    groups: Arc<ControlGroups>,
}

impl ControlGroups {
    /// Finds or asks for a place, which may take seconds. Must be called before this process has children.
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

    /// Whether control groups keep the limits, and what the place is, or why there is none.
    pub fn describe(&self) -> (bool, String) {
        match &self.place {
            Ok(place) if self.lost.load(Ordering::Relaxed) => (false, format!("{} lost its controllers", place.what)),
            Ok(place) => (true, place.what.clone()),
            Err(reason) => (false, reason.clone()),
        }
    }

    /// Makes a slot's group. `None` if its memory must be watched instead.
    pub fn make(self: &Arc<Self>, limits: &Limits) -> io::Result<Option<ControlGroup>> {
        let Ok(place) = &self.place else { return Ok(None) };
        self.remove_left();
        let made = match self.try_make(&place.directory, limits) {
            // The controllers are still there: this process is out of descriptors or memory.
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
        let total = limits.total_memory();
        if self.total.swap(total, Ordering::Relaxed) != total {
            fs::write(slots.join("memory.max"), total.to_string())?;
        }
        let directory = slots.join(format!("{PREFIX}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&directory)?;
        let entrance = File::options().write(true).open(directory.join("cgroup.procs")).inspect_err(|_| {
            let _ = fs::remove_dir(&directory);
        })?;
        // Dropping it on an error removes the directory.
        let group = ControlGroup { entrance: entrance.into(), directory, groups: self.clone() };
        group.set("memory.max", &limits.memory.to_string())?;
        group.set("pids.max", &limits.processes.to_string())?;
        // Kill all processes of the program at once: one that lost only some of them would be harder to understand.
        group.set("memory.oom.group", "1")?;
        // The file does not exist on a machine without swap.
        let _ = group.set("memory.swap.max", "0");
        Ok(group)
    }

    /// Removes the groups that could not be removed when they were dropped.
    pub fn remove_left(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|directory| fs::remove_dir(directory).is_err_and(|error| error.kind() != io::ErrorKind::NotFound));
    }
}

impl ControlGroup {
    /// Whether the kernel has killed the program because of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        self.counted("memory.events", "oom_kill ")
    }

    /// Whether the kernel has refused a new process or thread.
    pub fn ran_out_of_processes(&self) -> bool {
        self.counted("pids.events", "max ")
    }

    /// Whether the group has a CPU weight, so that its processes together get one share.
    pub fn shares_processors(&self) -> bool {
        self.directory.join("cpu.weight").exists()
    }

    /// Whether the group reached its own memory limit, and not only all groups together theirs.
    pub fn was_full(&self) -> bool {
        self.counted("memory.events", "oom ")
    }

    /// Its memory in bytes. `None` if the controllers were removed, so that it does not bound memory any more.
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

/// Moves this process to a group of its own in `directory`, and makes the parent of the slots' groups.
fn prepare(directory: &Path) -> io::Result<()> {
    let (own, slots) = (directory.join(OWN), directory.join(SLOTS));
    for group in [&own, &slots] {
        match fs::create_dir(group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    for entry in fs::read_dir(&slots)?.filter_map(Result::ok) {
        // Left by an interpreter that was killed.
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
    // The file does not exist without the cpu controller.
    let _ = fs::write(own.join("cpu.weight"), OWN_WEIGHT);
    Ok(())
}

/// Passes the controllers on to the groups in `directory`, and to those of slots.
fn give_controllers(directory: &Path) -> io::Result<()> {
    for group in [directory, &directory.join(SLOTS)] {
        let control = group.join("cgroup.subtree_control");
        fs::write(&control, NEEDED.map(|name| format!("+{name}")).join(" "))?;
        // Optional: without CPU weights, CPU time is still limited.
        let _ = fs::write(&control, "+cpu");
    }
    Ok(())
}

fn has_controllers(directory: &Path) -> bool {
    let given = controllers(&directory.join("cgroup.subtree_control"));
    given.is_ok_and(|given| NEEDED.iter().all(|needed| given.iter().any(|name| name == needed)))
}
