//! How the zygote confines each child, as far as it is the same for all. The child applies it in `zygote/src/enter.rs`.

use super::policy::Policy;
use super::{resource_limits, seccomp};
use crate::protocol::Confinement;

pub fn confinement(policy: &Policy) -> Confinement {
    let mut filter = Vec::new();
    for instruction in seccomp::program(policy.network) {
        filter.extend(instruction.code.to_ne_bytes());
        filter.extend([instruction.jt, instruction.jf]);
        filter.extend(instruction.k.to_ne_bytes());
    }
    Confinement {
        namespaces: libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | policy.network.namespace(),
        limits: resource_limits::list(&policy.limits),
        filter,
    }
}

#[cfg(test)]
mod tests {
    use super::confinement;
    use crate::limits::tests::defaults;
    use crate::protocol::Confinement;
    use crate::sandbox::{Network, Policy, Root};

    #[test]
    fn the_zygote_reads_what_is_written() {
        let policy = |network| Policy::new(Root::default(), defaults(), network);
        let written = confinement(&policy(Network::None));
        let message = written.write();
        assert_eq!(Confinement::read(&message).unwrap(), written);
        assert_eq!(Confinement::read(&message[..message.len() - 1]), None, "cut off");
        assert_eq!(written.namespaces ^ confinement(&policy(Network::Host)).namespaces, libc::CLONE_NEWNET);
    }
}
