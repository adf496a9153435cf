//! Watches the memory of a slot where no control group bounds it: all of its processes together, with what they wrote to its
//! memory-backed places. Between two looks a program can take more; what the kernel then ends first is the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::fstatvfs;
use rustix::process::Pid;

use crate::slot::Slot;

/// Between two looks, at least; and never more than this part of the time is spent looking.
const INTERVAL: Duration = Duration::from_millis(50);
const PART: u32 = 10;
/// A look ends after this long, with what it has seen by then.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Ends when the slot uses more than `limit` bytes.
pub async fn exceeds(slot: &Slot, limit: u64) {
    let mut pause = INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        let Ok(workspace) = slot.workspace.try_clone() else { continue };
        let processes = slot.processes;
        let started = Instant::now();
        // Off the event loop: a program decides how many processes there are to look at.
        let looked = tokio::task::spawn_blocking(move || {
            // What is shared after a fork is counted for each of its owners, and exactly only when it matters.
            usage(&workspace, processes, resident) > limit && usage(&workspace, processes, proportional) > limit
        });
        if looked.await.unwrap_or(false) {
            return;
        }
        pause = INTERVAL.max(started.elapsed() * PART);
    }
}

fn usage(workspace: &OwnedFd, first: [Pid; 2], own: fn(&str) -> Option<u64>) -> u64 {
    let deadline = Instant::now() + LONGEST_LOOK;
    let stored = fstatvfs(workspace.as_fd()).map_or(0, |status| (status.f_blocks - status.f_bfree) * status.f_frsize);
    let (mut seen, mut shared) = (BTreeSet::new(), BTreeMap::new());
    let mut next: Vec<Pid> = first.to_vec();
    let mut total = stored;
    while let Some(process) = next.pop() {
        if seen.insert(process.as_raw_nonzero()) && Instant::now() < deadline {
            // A process whose first thread has ended is known by its others only.
            for thread in threads(process) {
                next.extend(children(&thread));
                total += own(&thread).unwrap_or(0);
                shared.extend(shared_memory(&thread));
                if status(&thread).is_some() {
                    break;
                }
            }
        }
    }
    total + shared.values().sum::<u64>()
}

/// The directories of a process's threads in /proc.
fn threads(process: Pid) -> Vec<String> {
    let directory = format!("/proc/{}/task", process.as_raw_nonzero());
    let Ok(threads) = fs::read_dir(&directory) else { return Vec::new() };
    threads.filter_map(|thread| Some(format!("{directory}/{}", thread.ok()?.file_name().to_str()?))).collect()
}

/// Bytes of its own memory, that which it shares after a fork counted whole.
fn resident(thread: &str) -> Option<u64> {
    status(thread)
}

fn status(thread: &str) -> Option<u64> {
    field(&fs::read_to_string(format!("{thread}/status")).ok()?, "RssAnon:")
}

/// The same, with its part only of what several share. Where a program forbids the look, it counts as [`resident`].
fn proportional(thread: &str) -> Option<u64> {
    let process = thread.split("/task/").next()?;
    let rollup = fs::read_to_string(format!("{process}/smaps_rollup")).ok();
    rollup.and_then(|rollup| field(&rollup, "Pss_Anon:")).or_else(|| resident(thread))
}

/// Memory that was made to be shared, by its inode: as large as it is mapped, because what was let go of in the mapping stays.
fn shared_memory(thread: &str) -> Vec<(u64, u64)> {
    let maps = fs::read_to_string(format!("{thread}/maps")).unwrap_or_default();
    let mapping = |line: &str| {
        // "from-to rights offset device inode path"
        let (range, rest) = line.split_once(' ')?;
        let mut fields = rest.split_whitespace();
        let (rights, inode) = (fields.next()?, fields.nth(2)?.parse().ok()?);
        let (from, to) = range.split_once('-')?;
        let size = u64::from_str_radix(to, 16).ok()? - u64::from_str_radix(from, 16).ok()?;
        (rights.ends_with('s') && rest.ends_with("/dev/zero (deleted)")).then_some((inode, size))
    };
    maps.lines().filter_map(mapping).collect()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn children(thread: &str) -> Vec<Pid> {
    let list = fs::read_to_string(format!("{thread}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}
