//! Watches the memory of a slot where no control group bounds it: all of its processes together, with what they wrote to its
//! memory-backed places. Between two looks a program can take more; what the kernel then ends first is the program.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::fstatvfs;
use rustix::process::Pid;

use crate::slot::Slot;

const INTERVAL: Duration = Duration::from_millis(50);

/// Ends when the slot uses more than `limit` bytes.
pub async fn exceeds(slot: &Slot, limit: u64) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        // Many processes, or ones that share much: counted exactly only when it matters.
        if usage(slot, resident) > limit && usage(slot, proportional) > limit {
            return;
        }
    }
}

fn usage(slot: &Slot, of: fn(Pid) -> Option<u64>) -> u64 {
    let stored =
        fstatvfs(slot.workspace.as_fd()).map_or(0, |status| (status.f_blocks - status.f_bfree) * status.f_frsize);
    let mut seen = BTreeSet::new();
    let mut next: Vec<Pid> = slot.processes.to_vec();
    let mut total = stored;
    while let Some(process) = next.pop() {
        if seen.insert(process.as_raw_nonzero()) {
            total += of(process).unwrap_or(0);
            next.extend(children(process));
        }
    }
    total
}

/// Bytes of its own memory, that which it shares after a fork counted whole.
fn resident(process: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
    field(&status, "RssAnon:")
}

/// The same, with its part only of what several share. Where a program forbids the look, it counts as [`resident`].
fn proportional(process: Pid) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.as_raw_nonzero())).ok();
    rollup.and_then(|rollup| field(&rollup, "Pss_Anon:")).or_else(|| resident(process))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn children(process: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())) else { return Vec::new() };
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect::<Vec<_>>())
        .collect()
}
