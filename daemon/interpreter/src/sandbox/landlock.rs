//! Landlock: a second wall behind the mount namespace. Everything in the root may be read and executed, only the slot's own
//! directories may be written, and signals and abstract sockets stay within.

use std::io;
use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};

use super::root::{DEVICES, TERMINALS, WRITABLE};

/// The newest rights asked for; an older kernel (from Linux 5.13) enforces those it knows.
const NEWEST: ABI = ABI::V6;

/// A ruleset for one slot, whose own places it names; a child restricts itself by it.
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
