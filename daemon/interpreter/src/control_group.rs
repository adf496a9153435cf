//! Control groups (cgroup v2): a bound on the memory and the number of all of a slot's processes together, kept by the kernel.
//!
//! Only where a part of the tree was delegated to this process, as systemd does with `Delegate=yes`. Elsewhere `memory` watches.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::limits::Limits;

/// The group that this process itself moves to: a group that gives controllers to others may hold no processes.
const OWN: &str = "interpreter";
const PREFIX: &str = "slot-";

#[derive(Debug)]
pub struct ControlGroups {
    directory: PathBuf,
    next: AtomicU64,
    /// Groups whose last process was still going when they were dropped.
    left: Mutex<Vec<PathBuf>>,
}

/// One slot's group, removed when dropped or soon after.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
    /// Whoever writes here joins.
    pub entrance: OwnedFd,
    groups: std::sync::Arc<ControlGroups>,
}

impl ControlGroups {
    /// Makes this process's own group one that holds slots' groups; `None`, with the reason in the log, where it cannot be.
    pub fn of_this_process() -> Option<Self> {
        match delegated().and_then(|directory| prepare(&directory).map(|()| directory)) {
            Ok(directory) => {
                tracing::info!(directory = %directory.display(), "limits are kept by control groups");
                Some(ControlGroups { directory, next: AtomicU64::new(1), left: Mutex::default() })
            }
            Err(error) => {
                tracing::info!(reason = %error, "no control groups: memory is watched instead");
                None
            }
        }
    }

    pub fn make(self: &std::sync::Arc<Self>, limits: &Limits) -> io::Result<ControlGroup> {
        self.remove_left();
        let directory = self.directory.join(format!("{PREFIX}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&directory)?;
        let group = ControlGroup {
            entrance: File::options().write(true).open(directory.join("cgroup.procs"))?.into(),
            directory,
            groups: self.clone(),
        };
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
        let events = fs::read_to_string(self.directory.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|number| number.trim() != "0")
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

/// The directory of this process's group, if it is this user's to change and has what is needed.
fn delegated() -> io::Result<PathBuf> {
    let other = |text: &str| io::Error::other(text.to_owned());
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let path =
        groups.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(|| other("there is no cgroup v2"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mount = mounts.lines().find_map(cgroup2_mount).ok_or_else(|| other("cgroup v2 is not mounted"))?;
    let below = Path::new(path).strip_prefix(mount.0).map_err(io::Error::other)?;
    let directory = mount.1.join(below);
    let controllers = fs::read_to_string(directory.join("cgroup.controllers"))?;
    for needed in ["memory", "pids"] {
        if !controllers.split_whitespace().any(|controller| controller == needed) {
            return Err(other(&format!("the controller {needed} is not delegated to {}", directory.display())));
        }
    }
    rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK)
        .map_err(|error| other(&format!("{} is not delegated to this user: {error}", directory.display())))?;
    Ok(directory)
}

/// (root, mount point) of a line of mountinfo.
fn cgroup2_mount(line: &str) -> Option<(&str, &Path)> {
    let (fields, kind) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(3);
    (kind.split(' ').next()? == "cgroup2").then_some((fields.next()?, Path::new(fields.next()?)))
}

fn prepare(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)?.filter_map(Result::ok) {
        // Of a predecessor that was killed.
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    let own = directory.join(OWN);
    match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(own.join("cgroup.procs"), "0")?;
    fs::write(directory.join("cgroup.subtree_control"), "+memory +pids")
}
