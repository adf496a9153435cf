//! CAP_SYS_ADMIN of the outer sandbox, the one capability that the zygote keeps across its exec: it needs it to fork children into the
//! pid namespaces of slots. The children drop it with all others (`zygote/src/enter.rs`).

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set, set_capabilities,
};

/// Lets `command` keep CAP_SYS_ADMIN in the user namespace in which it is started.
pub fn keep_system_administration(command: &mut Command) {
    let act = || {
        let kept = CapabilitySet::SYS_ADMIN;
        let own = capabilities(None)?;
        set_capabilities(None, CapabilitySets { inheritable: kept, ..own })?;
        io::Result::Ok(configure_capability_in_ambient_set(kept, true)?)
    };
    // SAFETY: the closure only makes system calls, which is allowed between fork and exec.
    unsafe { command.pre_exec(act) };
}
