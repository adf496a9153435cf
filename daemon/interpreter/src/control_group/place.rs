//! Where this process may make groups: in its own group, if that was delegated to it, or in a scope that the user's systemd makes for it.
//!
//! A writable group is not necessarily delegated: below a user's systemd all groups are writable. At any time systemd may remove the
//! controllers of a group that it did not delegate. It also ends the unit when a program in it runs out of memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{getpid, getuid};

use super::hierarchy::{Hierarchy, own_group};
use super::manager::Manager;

/// Controllers without which no group is used.
pub const NEEDED: [&str; 2] = ["memory", "pids"];

/// A group that this process may divide.
#[derive(Debug)]
pub struct Place {
    pub directory: PathBuf,
    /// For the user, as in "the unit x.service".
    pub what: String,
}

pub fn find() -> io::Result<Place> {
    let own = own_group()?;
    let hierarchy = Hierarchy::of(&own)?;
    let manager = Manager::of_this_user(&hierarchy);
    let Some(manager) = manager else { return delegated_by_others(&hierarchy, &own) };
    let had = match manager.unit(&own) {
        Some(unit) if manager.delegates(unit) => taken(&hierarchy, &own, format!("the unit {unit}")),
        Some(unit) => {
            let reason = io::Error::other(format!("the unit {unit} is not delegated (Delegate=yes)"));
            // This unit was made to run the interpreter, so its limits must hold: do not leave it for a scope.
            if manager.is_for_this(unit) {
                return Err(reason);
            }
            Err(reason)
        }
        None if manager.has(&own) => Err(io::Error::other(format!("{} is a part of a unit", own.display()))),
        None => delegated_by_others(&hierarchy, &own),
    };
    had.or_else(|reason| {
        let scope = manager.scope().and_then(|()| taken(&hierarchy, &own_group()?, "a scope of its own".to_owned()));
        scope.map_err(|error| io::Error::other(format!("{reason}; a scope cannot be had: {error}")))
    })
}

/// A group delegated by the system's systemd to a unit of this user, or by a container's runtime.
fn delegated_by_others(hierarchy: &Hierarchy, own: &Path) -> io::Result<Place> {
    let directory = hierarchy.directory(own)?;
    let is_container = own == Path::new("/");
    let is_managers = |part: &std::ffi::OsStr| part.to_string_lossy().starts_with("user@");
    if own.iter().any(is_managers) {
        return Err(io::Error::other(format!("{} belongs to a user's systemd that cannot be reached", own.display())));
    }
    // Root can write to any group. systemd marks those that it delegates.
    if getuid().is_root() && !is_container && !is_marked(&directory) {
        return Err(io::Error::other(format!("{} is not delegated", directory.display())));
    }
    let what = if is_container { "the container's group".to_owned() } else { format!("the group {}", own.display()) };
    taken(hierarchy, own, what)
}

fn is_marked(directory: &Path) -> bool {
    let marked = |name: &str| rustix::fs::getxattr(directory, name, &mut [0_u8; 8]).is_ok();
    marked("user.delegate") || marked("trusted.delegate")
}

/// `group`, if it can be divided. Changes nothing.
fn taken(hierarchy: &Hierarchy, group: &Path, what: String) -> io::Result<Place> {
    let directory = hierarchy.directory(group)?;
    let refused = |reason: &str| Err(io::Error::other(format!("{}: {reason}", directory.display())));
    let read = |name: &str| fs::read_to_string(directory.join(name));
    // The root of the whole hierarchy has no type.
    if read("cgroup.type").unwrap_or_default().trim() != "domain" {
        return refused("it is the root of all groups, or a threaded one, and cannot be divided");
    }
    let given = controllers(&directory.join("cgroup.controllers"))?;
    if let Some(missing) = NEEDED.iter().find(|needed| !given.iter().any(|name| name == *needed)) {
        return refused(&format!("the controller {missing} is not delegated"));
    }
    for name in ["", "cgroup.procs", "cgroup.subtree_control"] {
        if let Err(error) = rustix::fs::access(directory.join(name), rustix::fs::Access::WRITE_OK) {
            return refused(&format!("this user may not divide it: {error}"));
        }
    }
    let this = getpid().as_raw_nonzero().to_string();
    if read("cgroup.procs")?.lines().any(|process| process != this) {
        return refused("other processes are in it");
    }
    Ok(Place { directory, what })
}

/// The controllers that a file lists.
pub fn controllers(file: &Path) -> io::Result<Vec<String>> {
    Ok(fs::read_to_string(file)?.split_whitespace().map(str::to_owned).collect())
}
