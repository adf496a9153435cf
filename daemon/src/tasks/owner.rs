//! The process that runs a task. Its start time tells it from a later process with the same id.

use std::fs;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    process: u32,
    /// When it started, in clock ticks since boot.
    started: u64,
    /// The id of that boot.
    boot: String,
}

impl Owner {
    /// This process; none if /proc cannot be read.
    pub fn this() -> Option<Self> {
        Self::of(std::process::id())
    }

    pub(super) fn of(process: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The command name, in parentheses, may hold anything. After it the start time is the twentieth field.
        let started = status.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Self { process, started, boot })
    }

    pub fn lives(&self) -> bool {
        Self::of(self.process).as_ref() == Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_it_has_ended_and_its_number_is_not_enough() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = Owner::of(child.id()).unwrap();
        assert!(owner.lives());
        assert!(!Owner { started: owner.started + 1, ..owner.clone() }.lives());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!owner.lives());
        assert!(Owner::this().unwrap().lives());
    }
}
