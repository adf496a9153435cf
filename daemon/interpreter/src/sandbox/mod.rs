//! The sandbox: what keeps one execution's program from everything that is not its own, as two ordered lists.
//!
//! The README's security section has the same steps in the same order. Each file here is one kernel mechanism. No step is
//! optional: where the kernel refuses one, nothing runs, and the error names the step and the remedy.
#![allow(unsafe_code, reason = "namespaces, mounts and seccomp have no safe interface for all that is needed here")]

mod capabilities;
mod descriptors;
mod identity;
mod landlock;
mod namespaces;
mod network;
mod resource_limits;
mod root;
mod seccomp;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal, setsid};
use rustix::system::sethostname;
use serde::{Deserialize, Serialize};

pub use descriptors::{keep_only, watch};
pub use namespaces::{Child, clone_into_namespaces, reap_children_automatically, reset_signals};
pub use root::{Bind, Root};

use crate::limits::Limits;

/// What a slot is built from; prepared once, the same for every slot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Policy {
    pub root: Root,
    pub limits: Limits,
    pub identity: identity::Identity,
}

impl Policy {
    pub fn new(root: Root, limits: Limits) -> Self {
        Policy { root, limits, identity: identity::Identity::of_this_process() }
    }
}

/// The slot's side of step 1 to 6, run by its first process.
///
/// 1. `clone_into_namespaces` made this process: user, pid, mount, network, ipc, uts and cgroup namespaces of its own.
/// 2. Its user is mapped to one unprivileged user outside (`map_identity`, by the parent).
pub fn build(policy: &Policy) -> Result<(), StepError> {
    // When memory is short, the kernel is to take programs first.
    step("offer itself to the out-of-memory killer", || fs::write("/proc/self/oom_score_adj", "500"))?;
    step("set the host name", || Ok(sethostname(b"python")?))?;
    // 3. A network with nothing but its own loopback.
    step("bring up loopback", network::bring_up_loopback)?;
    // Kept across the steps: sources of mounts may be readable only to the user that this process still is.
    let sources = step("open the parts of the root", || policy.root.open_sources())?;
    // 4. The unprivileged user is all it is from here on.
    step("become the unprivileged user", || policy.identity.assume())?;
    // 5. Everything in the slot ends with its first process, and that with the spawner.
    step("die with the spawner", || Ok(set_parent_process_death_signal(Some(Signal::KILL))?))?;
    // 6. A root of its own: Python's prefixes read-only, /workspace, /tmp and /dev/shm in bounded memory, its own /proc.
    step("build the root", || policy.root.build(sources, &policy.limits))
}

/// Step 7 to 11, run by the process that becomes Python, after `build` and right before exec.
pub fn enter(policy: &Policy) -> Result<(), StepError> {
    // 7. A session of its own: no terminal, no process group shared with anyone.
    step("start a session", || Ok(setsid().map(drop)?))?;
    // 8. Resource limits.
    step("set resource limits", || resource_limits::apply(&policy.limits))?;
    // 9. No capabilities, and no way to gain any.
    step("drop capabilities", capabilities::drop_all)?;
    // 10. Landlock: writes only to /workspace, /tmp, /dev/shm; from Linux 6.12 signals and abstract sockets only within.
    step("restrict with Landlock", landlock::restrict)?;
    // 11. Seccomp: only the system calls that ordinary programs need. Last, because the steps above need others.
    step("install the seccomp filter", seccomp::install)?;
    // Nothing but stdin, stdout and stderr survives the exec.
    step("close descriptors", descriptors::close_on_exec)
}

/// Writes the id maps of a process made by [`clone_into_namespaces`]; called by its parent.
pub fn map_identity(policy: &Policy, child: &Child) -> Result<(), StepError> {
    step("map the user", || policy.identity.map(child.pid))
}

/// A step that the kernel refused.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[error("cannot isolate Python: to {step} failed: {reason}. {remedy}")]
pub struct StepError {
    /// What was tried, as in "to {step}".
    pub step: String,
    /// The kernel's reason.
    pub reason: String,
    /// What the user can do.
    pub remedy: String,
}

/// Runs one step and names it in its error.
pub fn step<T>(name: &str, act: impl FnOnce() -> io::Result<T>) -> Result<T, StepError> {
    act().map_err(|error| StepError { step: name.to_owned(), reason: error.to_string(), remedy: remedy(name, &error) })
}

/// The remedy for a failed step, from what is known of systems on which it fails.
fn remedy(step: &str, error: &io::Error) -> String {
    let namespaces = "Unprivileged user namespaces are needed";
    match (step, error.raw_os_error()) {
        ("create namespaces", Some(libc::ENOSPC | libc::EUSERS)) => {
            format!("{namespaces}: raise the limit with `sudo sysctl user.max_user_namespaces=15000`")
        }
        ("create namespaces", Some(libc::EPERM)) => format!(
            "{namespaces}: allow them with `sudo sysctl kernel.unprivileged_userns_clone=1` (Debian) or, in a container, a \
             seccomp profile that permits them"
        ),
        ("restrict with Landlock", _) => {
            "A kernel with Landlock is needed: Linux 5.13 or later with `landlock` in the `lsm=` list".to_owned()
        }
        (
            "map the user" | "become the unprivileged user" | "build the root" | "open the parts of the root",
            Some(libc::EPERM | libc::EACCES),
        ) => {
            format!(
                "{namespaces} that may mount: on Ubuntu 24.04 or later, `sudo sysctl \
                 kernel.apparmor_restrict_unprivileged_userns=0` allows them; in a container, run it with /proc unmasked"
            )
        }
        _ => "It needs Linux 5.13 or later, with user namespaces, Landlock and seccomp".to_owned(),
    }
}

/// Has `command` enter the sandbox right before exec; `refused` is told which step failed.
pub fn confine(command: &mut Command, policy: Policy, refused: impl Fn(StepError) + Send + Sync + 'static) {
    let act = move || {
        enter(&policy).map_err(|error| {
            refused(error);
            io::Error::from(io::ErrorKind::PermissionDenied)
        })
    };
    // SAFETY: the slot's first process has a single thread, so its child may do all that it could.
    unsafe { command.pre_exec(act) };
}
