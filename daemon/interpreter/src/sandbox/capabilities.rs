//! The one capability that the zygote keeps across its exec, inside the outer sandbox: children are born into the pid namespaces of
//! slots. They drop it with all others (`zygote/src/enter.rs`).

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set, set_capabilities,
};

/// Has `command` keep CAP_SYS_ADMIN of the user namespace that it is started in.
pub fn keep_to_join_namespaces(command: &mut Command) {
    let act = || {
        let kept = CapabilitySet::SYS_ADMIN;
        let own = capabilities(None)?;
        set_capabilities(None, CapabilitySets { inheritable: kept, ..own })?;
        io::Result::Ok(configure_capability_in_ambient_set(kept, true)?)
    };
    // SAFETY: only system calls, which may be made between fork and exec.
    unsafe { command.pre_exec(act) };
}
