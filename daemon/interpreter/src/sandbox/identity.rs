//! The user of programs: user 1000 inside the sandbox, one unprivileged user outside.
//!
//! An ordinary user is mapped to itself. Root is mapped to `nobody`, because the kernel exempts root's processes from RLIMIT_NPROC, and
//! lets them write to /proc/sys regardless of their capabilities.

use std::fs;
use std::io;

use rustix::process::{DumpableBehavior, Gid, Pid, Uid, getgid, getuid, set_dumpable_behavior};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

/// The user and group id of programs, as they see it themselves.
pub const INSIDE: u32 = 1000;
/// `nobody` and `nogroup`, on every Linux distribution.
const NOBODY: u32 = 65534;

/// The user outside to which a slot's user 1000 is mapped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    uid: u32,
    gid: u32,
    /// This process is root, and has to become that user first.
    switch: bool,
}

/// False if this user namespace has no such user. Its root is then an ordinary user outside, and the kernel treats it as one.
fn nobody_exists() -> bool {
    let maps = |file: &str| {
        fs::read_to_string(file).unwrap_or_default().lines().any(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
            let (inside, _, length) = (numbers.next(), numbers.next(), numbers.next());
            matches!((inside, length), (Some(inside), Some(length)) if (inside..inside + length).contains(&u64::from(NOBODY)))
        })
    };
    maps("/proc/self/uid_map") && maps("/proc/self/gid_map")
}

impl Identity {
    pub fn of_this_process() -> Self {
        let uid = getuid();
        if uid.is_root() && nobody_exists() {
            Identity { uid: NOBODY, gid: NOBODY, switch: true }
        } else {
            Identity { uid: uid.as_raw(), gid: getgid().as_raw(), switch: false }
        }
    }

    /// Writes the id maps of process `pid`, the first one in its user namespace.
    pub fn map(&self, pid: Pid) -> io::Result<()> {
        // An unprivileged process must deny setgroups before it may write a group map.
        write_maps(pid, self.uid, self.gid, !self.switch)
    }

    /// Becomes the mapped user for good. Keeps the capabilities in the sandbox's own namespaces.
    pub fn assume(&self) -> io::Result<()> {
        if self.switch {
            let (uid, gid) = (Uid::from_raw(INSIDE), Gid::from_raw(INSIDE));
            set_thread_groups(&[])?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            // A change of user makes a process undumpable, which would hide its children in /proc, and with them the slots.
            set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        }
        Ok(())
    }

    /// Lets this thread create files as the program's user until the guard is dropped.
    pub fn act(&self) -> ActAs {
        if self.switch {
            set_file_ids(self.uid, self.gid);
        }
        ActAs { switched: self.switch }
    }
}

/// While it exists, files that this thread creates belong to the program's user.
pub struct ActAs {
    switched: bool,
}

impl Drop for ActAs {
    fn drop(&mut self) {
        if self.switched {
            set_file_ids(0, 0);
        }
    }
}

fn set_file_ids(uid: u32, gid: u32) {
    // Unlike setuid, these calls affect only the calling thread.
    // SAFETY: setfsgid takes a number. It cannot fail for root.
    unsafe { libc::setfsgid(gid) };
    // SAFETY: setfsuid takes a number. It cannot fail for root.
    unsafe { libc::setfsuid(uid) };
}

/// Writes the id maps of a slot's first process, which has the same user as the outer sandbox.
pub fn map_inside(pid: Pid) -> io::Result<()> {
    write_maps(pid, INSIDE, INSIDE, true)
}

fn write_maps(pid: Pid, uid: u32, gid: u32, deny_groups: bool) -> io::Result<()> {
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    if deny_groups {
        fs::write(format!("{process}/setgroups"), "deny")?;
    }
    fs::write(format!("{process}/uid_map"), format!("{INSIDE} {uid} 1"))?;
    fs::write(format!("{process}/gid_map"), format!("{INSIDE} {gid} 1"))
}
