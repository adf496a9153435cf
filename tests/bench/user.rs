//! Whom the interpreter, its clients and the bare Pythons run as: a user without privileges. A benchmark that root started keeps
//! root in its main thread, to read of the interpreter's processes what they hide from their own user.

use std::panic::resume_unwind;
use std::thread;

use anyhow::{Context as _, Result};
use rustix::process::{Gid, Uid, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// A user id without an account.
const ORDINARY_USER: u32 = 54321;

pub fn id() -> u32 {
    if getuid().is_root() { ORDINARY_USER } else { getuid().as_raw() }
}

/// Does `work` in a thread of that user. To the kernel credentials belong to a thread, and what it starts inherits them.
pub fn as_user<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let become_user = || -> rustix::io::Result<()> {
        if getuid().is_root() {
            let (user, group) = (Uid::from_raw(ORDINARY_USER), Gid::from_raw(ORDINARY_USER));
            set_thread_groups(&[])?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)?;
        }
        Ok(())
    };
    let work = || {
        become_user().context("cannot become an ordinary user")?;
        work()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}
