//! Landlock: a second barrier behind the mount namespace. Everything in the root may be read and executed, only the slot's own directories
//! may be written, and signals and abstract sockets cannot leave the slot.

use std::io;
use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};

use super::root::{DEVICES, TERMINALS, WRITABLE};

/// The newest rights that are requested. An older kernel (from Linux 5.13) enforces those that it knows.
const NEWEST: ABI = ABI::V6;

/// A ruleset that names this slot's writable places. The slot's child restricts itself by it.
pub fn rules() -> io::Result<OwnedFd> {
    let rules = ruleset()?;
    Option::<OwnedFd>::from(rules).ok_or_else(|| io::Error::other("this kernel does not enforce Landlock"))
}

fn ruleset() -> io::Result<RulesetCreated> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.scope(Scope::AbstractUnixSocket | Scope::Signal))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    rules = allow(rules, "/", AccessFs::from_read(NEWEST))?;
    for path in WRITABLE {
        rules = allow(rules, path, AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock))?;
    }
    for path in DEVICES {
        rules = allow(rules, path, AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    allow(rules, TERMINALS, AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev)
}

fn allow(rules: RulesetCreated, path: &str, access: BitFlags<AccessFs>) -> io::Result<RulesetCreated> {
    let file = PathFd::new(path).map_err(io::Error::other)?;
    rules.add_rule(PathBeneath::new(file, access)).map_err(io::Error::other)
}
