//! What the zygote's native part confines children by, in the form in which it reads it (`zygote/src/enter.rs`).

use super::network::Network;
use super::policy::Policy;
use super::{resource_limits, seccomp};

/// The message: kinds of namespaces to join, resource limits, seccomp program.
pub fn confinement(policy: &Policy) -> Vec<u8> {
    let limits = resource_limits::list(&policy.limits);
    let network = if policy.network == Network::None { libc::CLONE_NEWNET } else { 0 };
    let kinds = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | network;
    let mut message = Vec::new();
    message.extend(kinds.to_ne_bytes());
    message.extend((limits.len() as u32).to_ne_bytes());
    for (resource, value) in limits {
        message.extend(u64::from(resource).to_ne_bytes());
        message.extend(value.to_ne_bytes());
    }
    for instruction in seccomp::program() {
        message.extend(instruction.code.to_ne_bytes());
        message.extend([instruction.jt, instruction.jf]);
        message.extend(instruction.k.to_ne_bytes());
    }
    message
}
