//! The sandbox: what keeps one execution's program from everything that is not its own, as one ordered list in three parts.
//!
//! [`build_outer`] is done once, and holds the Python that children are forked from; [`build_slot`] once for each execution; the
//! rest by the child that will run the program, in `zygote/src/enter.rs`, from what `confinement` and `landlock` prepare here.
//! `docs/security.md` has the same steps in the same order. Each file is one kernel mechanism. No step is optional: where the
//! kernel refuses one, nothing runs, and the error names the step and the remedy.
#![allow(unsafe_code, reason = "namespaces and mounts have no safe interface for all that is needed here")]

mod capabilities;
mod confinement;
mod descriptors;
mod identity;
mod landlock;
mod namespaces;
mod network;
mod refused;
mod resource_limits;
mod root;
mod seccomp;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::system::sethostname;
use serde::{Deserialize, Serialize};

pub use capabilities::keep_to_join_namespaces;
pub use confinement::confinement;
pub use descriptors::{keep_only, pass_on, watch};
pub use identity::Identity;
pub use landlock::rules;
pub use namespaces::{
    Child, auto_reap, block_requests_to_end, child_ends, clone_into_namespaces, pause, reset_signals,
    start_without_requests_to_end,
};
pub use network::Network;
pub use refused::{StepError, refused, step};
pub use resource_limits::limit_address_space;
pub use root::{Bind, HOME, Root};

use crate::limits::Limits;
use crate::precedence;

/// What slots are built from; prepared once, the same for every slot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Policy {
    pub root: Root,
    pub limits: Limits,
    pub network: Network,
    pub identity: identity::Identity,
}

impl Policy {
    pub fn new(root: Root, limits: Limits, network: Network) -> Self {
        Policy { root, limits, network, identity: identity::Identity::of_this_process() }
    }
}

/// Step 3 to 5, by the first process of the outer sandbox.
///
/// 1. `clone_into_namespaces` made this process: user, pid, mount, network, ipc, uts and cgroup namespaces of its own.
/// 2. Its user is mapped to one unprivileged user outside (`Identity::map`, by the parent).
pub fn build_outer(policy: &Policy) -> Result<(), StepError> {
    step("offer itself to the out-of-memory killer", precedence::of_zygote)?;
    step("set the host name", || Ok(sethostname(b"python")?))?;
    // Kept across the steps: sources of mounts may be readable only to the user that this process still is.
    let sources = step("open the parts of the root", || policy.root.open_sources())?;
    // 3. The unprivileged user is all it is from here on.
    step("become the unprivileged user", || policy.identity.assume())?;
    // 4. Everything within ends with its first process, and that with the interpreter.
    step("die with the interpreter", || Ok(set_parent_process_death_signal(Some(Signal::KILL))?))?;
    // 5. A root with nothing in it but the system's libraries, Python's prefixes and the kernel's words on the processors, read-only.
    step("build the root", || policy.root.build(sources, &policy.limits))
}

/// Step 7, by the first process of a slot.
///
/// 6. `clone_into_namespaces` made it, inside the outer sandbox: user, pid, mount, network, ipc and uts namespaces once more.
pub fn build_slot(policy: &Policy) -> Result<(), StepError> {
    step("die with the spawner", || Ok(set_parent_process_death_signal(Some(Signal::KILL))?))?;
    // 7. A world of its own: a loopback, /workspace, /tmp and /dev/shm in bounded memory, terminals, its own read-only /proc.
    step("bring up loopback", || network::prepare(policy.network))?;
    step("build the workspace", || policy.root.build_slot(&policy.limits))
}

/// Writes the id maps of a process made by [`clone_into_namespaces`]; called by its parent.
pub fn map_identity(policy: &Policy, child: &Child) -> Result<(), StepError> {
    step("map the user", || policy.identity.map(child.pid))
}

/// The same for a slot, whose parent is the unprivileged user already.
pub fn map_slot_identity(child: &Child) -> Result<(), StepError> {
    step("map the slot's user", || identity::map_inside(child.pid))
}
