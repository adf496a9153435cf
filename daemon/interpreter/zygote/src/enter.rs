//! How a child enters its slot: the second half of the sandbox's ordered list, prepared by `sandbox::confinement` on the other side.

use alloc::vec::Vec;
use core::ffi::c_int;

use crate::kernel::{self, Descriptor, Errno};

/// What every child is confined by, as `sandbox::confinement` has prepared it.
pub struct Confinement {
    namespaces: c_int,
    /// (resource, value)
    limits: Vec<(u32, u64)>,
    /// A seccomp program.
    filter: Vec<u8>,
}

/// A step that the kernel refused.
pub struct Refused {
    pub step: &'static str,
    pub error: Errno,
}

impl Confinement {
    /// Reads `kinds of namespaces: u32, number of limits: u32, (resource: u64, value: u64)…, program`, in this machine's byte order.
    pub fn read(message: &[u8]) -> Option<Self> {
        let (namespaces, rest) = message.split_first_chunk::<4>()?;
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        let mut limits = Vec::new();
        for _ in 0..u32::from_ne_bytes(*count) {
            let (resource, after) = rest.split_first_chunk::<8>()?;
            let (value, after) = after.split_first_chunk::<8>()?;
            limits.push((u32::try_from(u64::from_ne_bytes(*resource)).ok()?, u64::from_ne_bytes(*value)));
            rest = after;
        }
        let whole = !rest.is_empty() && rest.len() % 8 == 0;
        whole.then(|| Confinement { namespaces: c_int::from_ne_bytes(*namespaces), limits, filter: rest.to_vec() })
    }
}

/// Step 8 to 14 of the list, in the child, before it has a program. `slot` leads to the slot's first process, `rules` is its
/// Landlock ruleset, `group` the file by which a process joins its control group.
pub fn enter(
    confinement: &Confinement,
    slot: Descriptor,
    rules: Descriptor,
    group: Option<Descriptor>,
) -> Result<(), Refused> {
    if let Some(group) = group {
        // 8. The slot's control group, where there is one. First, because the group is not to be found from within.
        step("join the control group", kernel::write_all(group, b"0"))?;
    }
    // 9. The slot's namespaces: user, mount, network, ipc, uts; it was born into the pid namespace.
    step("join the slot", kernel::join_namespaces(slot, confinement.namespaces))?;
    step("start in the workspace", kernel::change_directory(c"/workspace"))?;
    // 10. A session of its own: no terminal, no process group shared with anyone.
    step("start a session", kernel::start_session())?;
    kernel::unblock_signals();
    // 11. Resource limits.
    for (resource, value) in &confinement.limits {
        step("set resource limits", kernel::limit(*resource, *value))?;
    }
    // 12. No capabilities, and no way to gain any.
    step("drop capabilities", drop_capabilities())?;
    // 13. Landlock: writes only to /workspace, /tmp, /dev/shm; from Linux 6.12 signals and abstract sockets only within.
    step("restrict with Landlock", kernel::restrict_with_landlock(rules))?;
    // 14. Seccomp: only the system calls that ordinary programs need. Last, because the steps above need others.
    step("install the seccomp filter", kernel::install_filter(&confinement.filter))
}

fn step(step: &'static str, result: Result<(), Errno>) -> Result<(), Refused> {
    result.map_err(|error| Refused { step, error })
}

fn drop_capabilities() -> Result<(), Errno> {
    // An executable with file capabilities or the set-user-id bit gains nothing.
    kernel::control(kernel::PR_SET_NO_NEW_PRIVS, 1)?;
    kernel::control(kernel::PR_CAP_AMBIENT, kernel::PR_CAP_AMBIENT_CLEAR_ALL)?;
    for capability in 0..64 {
        match kernel::control(kernel::PR_CAPBSET_DROP, capability) {
            // One past the last capability that this kernel knows.
            Err(Errno(kernel::EINVAL)) => break,
            result => result?,
        }
    }
    kernel::set_no_capabilities()
}
