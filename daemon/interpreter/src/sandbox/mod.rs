//! The sandbox: keeps one execution's program away from everything that is not its own. It is one ordered list of steps in three parts.
//!
//! [`build_outer`] runs once for each zygote; [`build_slot`] runs once for each execution; the remaining steps are taken by the
//! child that will run the program, in `zygote/src/enter.rs`, with what `confinement` and `landlock` prepare here. `docs/security.md` has
//! the same steps in the same order. Each file is one kernel mechanism, except `policy`, `confinement` and `refused`. If the kernel
//! refuses a step, nothing runs, and the error names the step and the remedy. Only the control group may be missing.
#![allow(unsafe_code, reason = "namespaces and mounts have no safe interface for all that is needed here")]

mod capabilities;
mod confinement;
mod descriptors;
mod identity;
mod landlock;
mod namespaces;
mod network;
mod policy;
mod refused;
mod resource_limits;
mod root;
mod seccomp;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::system::sethostname;

pub use capabilities::keep_system_administration;
pub use confinement::confinement;
pub use descriptors::{keep_only, pass_on, watch};
pub use identity::Identity;
pub use landlock::rules;
pub use namespaces::{
    Cloned, auto_reap, block_child_signal, block_termination_signals, clone_into_namespaces, pause, reset_signals,
    start_with_termination_signals_blocked,
};
pub use network::{Network, OwnNetwork};
pub use policy::Policy;
pub use refused::{StepError, refused, step};
pub use resource_limits::limit_address_space;
pub use root::{Bind, HOME, Root};

use crate::precedence;

/// Steps 3 to 5, taken by the first process of the outer sandbox.
///
/// 1. `clone_into_namespaces` made this process: user, pid, mount, network, ipc, uts and cgroup namespaces of its own.
/// 2. Its user is mapped to one unprivileged user outside (`Identity::map`, called by the parent).
pub fn build_outer(policy: &Policy) -> Result<(), StepError> {
    step("offer itself to the out-of-memory killer", precedence::of_zygote)?;
    step("set the host name", || Ok(sethostname(b"python")?))?;
    // Opened before step 3: some sources may be readable only to the user that this process still is.
    let sources = step("open the parts of the root", || policy.root.open_sources())?;
    // 3. From here on it is the unprivileged user.
    step("become the unprivileged user", || policy.identity.assume())?;
    // 4. Everything in the sandbox ends with its first process, which ends with the interpreter.
    step("die with the interpreter", || Ok(set_parent_process_death_signal(Some(Signal::KILL))?))?;
    // 5. A read-only root with the system's libraries, Python's prefixes, the bytecode kept for them, the kernel's
    //    description of the CPUs, and nothing else.
    step("build the root", || policy.root.build(sources, &policy.limits))
}

/// Step 7, taken by the first process of a slot.
///
/// 6. `clone_into_namespaces` made it, inside the outer sandbox: user, pid, mount, ipc and uts namespaces once more, in an `OwnNetwork`.
pub fn build_slot(policy: &Policy) -> Result<(), StepError> {
    step("die with the spawner", || Ok(set_parent_process_death_signal(Some(Signal::KILL))?))?;
    // 7. Its own /workspace, /tmp and /dev/shm in bounded memory, its own terminals, and its own read-only /proc.
    step("build the workspace", || policy.root.build_slot(&policy.limits))
}

/// Writes the id maps of a process made by [`clone_into_namespaces`]. Called by its parent.
pub fn map_identity(policy: &Policy, child: &Cloned) -> Result<(), StepError> {
    step("map the user", || policy.identity.map(child.pid))
}

/// Writes the id maps of a slot's first process, whose parent is the unprivileged user already.
pub fn map_slot_identity(child: &Cloned) -> Result<(), StepError> {
    step("map the slot's user", || identity::map_inside(child.pid))
}
