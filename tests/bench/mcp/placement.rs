//! Which processors processes run on. The kernel keeps two that talk to each other on one processor, and spreads a chain of them over
//! several: each step then waits for a processor to wake up, which costs a virtual machine more than the step itself. So what is done in
//! a chain can be compared with what is done in its parts only on one processor.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// Every thread of some processes, and each that they start, on one processor until this is dropped.
pub struct OneProcessor(Vec<(Pid, CpuSet)>);

impl OneProcessor {
    pub fn of(processes: &[u32]) -> Result<Self> {
        let mut before = OneProcessor(Vec::new());
        for process in processes {
            for thread in fs::read_dir(format!("/proc/{process}/task"))? {
                let thread = thread?.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
                let thread = thread.context("a thread has no number")?;
                let allowed = sched_getaffinity(Some(thread))?;
                let first = (0..CpuSet::MAX_CPU).find(|processor| allowed.is_set(*processor));
                let mut one = CpuSet::new();
                one.set(first.context("there is no processor")?);
                sched_setaffinity(Some(thread), &one)?;
                before.0.push((thread, allowed));
            }
        }
        Ok(before)
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        for (thread, allowed) in &self.0 {
            // One that has ended needs none.
            let _ = sched_setaffinity(Some(*thread), allowed);
        }
    }
}
