//! Where this process may make groups: in its own, if that was delegated to it, or in one that the user's manager makes for it.
//!
//! That a group can be written to does not mean that it was given away: below a user's manager all can. systemd takes the controllers
//! of a group that it did not delegate back when it likes, and ends the unit when a program in it runs out of memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{getpid, getuid};

use super::NEEDED;
use super::manager::Manager;

/// A group that is this process's to divide.
#[derive(Debug)]
pub struct Place {
    pub directory: PathBuf,
    /// In words: "the unit x.service".
    pub what: String,
}

/// Where the groups are seen, as one mount.
pub struct Hierarchy {
    /// Which group the mount shows, as /proc names groups.
    root: PathBuf,
    mount: PathBuf,
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
            // Its limits, and its end, are to hold for this process.
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

/// By the system's manager to a unit of this user, or by whoever made a container.
fn delegated_by_others(hierarchy: &Hierarchy, own: &Path) -> io::Result<Place> {
    let directory = hierarchy.directory(own)?;
    let is_container = own == Path::new("/");
    let is_managers = |part: &std::ffi::OsStr| part.to_string_lossy().starts_with("user@");
    if own.iter().any(is_managers) {
        return Err(io::Error::other(format!("{} is of a user's manager that cannot be asked", own.display())));
    }
    // Root can write everywhere; systemd has a mark for what it delegates.
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

/// The group, if everything that is needed can be done there. Nothing is changed before that is certain.
fn taken(hierarchy: &Hierarchy, group: &Path, what: String) -> io::Result<Place> {
    let directory = hierarchy.directory(group)?;
    let refused = |reason: &str| Err(io::Error::other(format!("{}: {reason}", directory.display())));
    let read = |name: &str| fs::read_to_string(directory.join(name));
    // The machine's own root has no kind.
    if read("cgroup.type").unwrap_or_default().trim() != "domain" {
        return refused("it is the root of all groups, or one for threads, and cannot be divided");
    }
    let given = controllers(&directory.join("cgroup.controllers"))?;
    if let Some(missing) = NEEDED.iter().find(|needed| !given.iter().any(|name| name == *needed)) {
        return refused(&format!("the controller {missing} is not delegated"));
    }
    for name in ["", "cgroup.procs", "cgroup.subtree_control"] {
        if let Err(error) = rustix::fs::access(directory.join(name), rustix::fs::Access::WRITE_OK) {
            return refused(&format!("it is not this user's to divide: {error}"));
        }
    }
    let this = getpid().as_raw_nonzero().to_string();
    if read("cgroup.procs")?.lines().any(|process| process != this) {
        return refused("other processes are in it");
    }
    Ok(Place { directory, what })
}

/// The names in a file of controllers.
pub fn controllers(file: &Path) -> io::Result<Vec<String>> {
    Ok(fs::read_to_string(file)?.split_whitespace().map(str::to_owned).collect())
}

/// The group of this process, as /proc names it.
pub fn own_group() -> io::Result<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    own.map(PathBuf::from).ok_or_else(|| io::Error::other("there is no cgroup v2"))
}

impl Hierarchy {
    /// Of several mounts, as in a container that was not given one of its own only, the last one that shows `group`.
    fn of(group: &Path) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let found = mounts.lines().filter_map(cgroup2_mount).rfind(|(root, _)| group.starts_with(root));
        let found = found.ok_or_else(|| io::Error::other("cgroup v2 is not mounted"))?;
        Ok(Hierarchy { root: found.0.into(), mount: found.1.into() })
    }

    /// Where `group` is.
    pub fn directory(&self, group: &Path) -> io::Result<PathBuf> {
        let below =
            group.strip_prefix(&self.root).map_err(|_| io::Error::other("its control group is not shown here"))?;
        Ok(self.mount.join(below))
    }
}

/// (root, mount point) of a line of mountinfo.
fn cgroup2_mount(line: &str) -> Option<(&str, &str)> {
    let (fields, kind) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(3);
    (kind.split(' ').next()? == "cgroup2").then_some((fields.next()?, fields.next()?))
}
