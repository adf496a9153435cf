//! Where the control group hierarchy (cgroup v2) is mounted, and which group this process is in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A mount of the hierarchy.
pub struct Hierarchy {
    /// The group that the mount shows, as /proc names groups.
    root: PathBuf,
    mount: PathBuf,
}

impl Hierarchy {
    /// The last mount that shows `group`. A container may have several.
    pub fn of(group: &Path) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let found = mounts.lines().filter_map(cgroup2_mount).rfind(|(root, _)| group.starts_with(root));
        let found = found.ok_or_else(|| io::Error::other("cgroup v2 is not mounted"))?;
        Ok(Hierarchy { root: found.0.into(), mount: found.1.into() })
    }

    /// The directory of `group`.
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

/// The group of this process, as /proc names it.
pub fn own_group() -> io::Result<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    own.map(PathBuf::from).ok_or_else(|| io::Error::other("there is no cgroup v2"))
}
