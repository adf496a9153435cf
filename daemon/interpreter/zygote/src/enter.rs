//! How a child enters its slot: the second half of the sandbox's ordered list. `sandbox::confinement` of the interpreter prepares it.

use core::ffi::c_int;

use crate::kernel::{self, Descriptor, Errno};
use crate::protocol::{Confinement, LANDLOCK_STEP, SlotRequest, WORKSPACE};

/// A step that the kernel refused.
pub struct Refused {
    pub step: &'static str,
    pub error: Errno,
}

/// Steps 8 to 14 of the list, taken by the child before it has a program. Returns the listener of its seccomp filter.
pub fn enter(confinement: &Confinement, request: &SlotRequest<Descriptor>) -> Result<Option<Descriptor>, Refused> {
    if let Some(group) = request.group {
        // 8. The slot's control group, if it has one. First, because the group cannot be reached from inside the slot.
        step("join the control group", kernel::write_all(group, b"0"))?;
    }
    // 9. The slot's namespaces: user, mount, network, ipc, uts. It was born into the pid namespace.
    step("join the slot", kernel::join_namespaces(request.slot, confinement.namespaces as c_int))?;
    step("start in the workspace", kernel::change_directory(WORKSPACE))?;
    // 10. A session of its own: no terminal, and no process group shared with others.
    step("start a session", kernel::start_session())?;
    kernel::unblock_signals();
    // 11. Resource limits.
    for (resource, value) in &confinement.limits {
        step("set resource limits", kernel::limit(*resource, *value))?;
    }
    // 12. No capabilities, and no way to gain any.
    step("drop capabilities", drop_capabilities())?;
    // 13. Landlock: writes only to /workspace, /tmp, /dev/shm; from Linux 6.12 on, signals and abstract sockets only within.
    step(LANDLOCK_STEP, kernel::restrict_with_landlock(request.rules))?;
    // 14. Seccomp: only the system calls that ordinary programs need. Last, because the steps above need others.
    step("install the seccomp filter", kernel::install_filter(&confinement.filter))
}

fn step<T>(step: &'static str, result: Result<T, Errno>) -> Result<T, Refused> {
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
