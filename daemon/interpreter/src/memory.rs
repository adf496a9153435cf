//! Watches the memory of a slot that no control group bounds: of all its processes together, and of the files in its memory-backed
//! places. Between two looks a program can take more. When the machine's memory is short, the kernel kills programs first.

mod look;
mod processes;

use std::time::{Duration, Instant};

use crate::slot::Slot;
use crate::total::Share;
pub use look::Exceeded;
use look::{Look, SharedMemory, Verdict};
pub use processes::count as count_tasks;

/// Shortest pause between two looks.
const INTERVAL: Duration = Duration::from_millis(50);
/// Longest pause between two looks. In this time a program can hardly take more than the machine has.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);
/// How long a program may run unwatched while this process has no descriptors or memory left to look with.
const LONGEST_BLIND: Duration = Duration::from_secs(10);
/// A pause is this many times as long as the look before it.
const PART: u32 = 10;

/// Waits until the slot uses more than `limit` bytes, or has so many processes or mappings that its memory cannot be determined.
pub async fn exceeds(slot: &Slot, share: &Share, limit: u64) -> Exceeded {
    let mut pause = INTERVAL;
    let mut seen = SharedMemory::default();
    let mut last_look = Instant::now();
    loop {
        tokio::time::sleep(pause).await;
        let look = Look {
            workspace: slot.workspace.clone(),
            first: slot.first,
            network: slot.spawner.policy.network,
            limit,
            room: share.room(),
        };
        let started = Instant::now();
        // Off the event loop: how long a look takes is up to the program.
        let mut shared = std::mem::take(&mut seen);
        let looked = tokio::task::spawn_blocking(move || {
            let verdict = look.take(&mut shared);
            (verdict, shared)
        });
        seen = match looked.await {
            Ok((Verdict::Exceeded(how), _)) => return how,
            Ok((Verdict::Within { held, exact }, shared)) => {
                if share.holds(held, exact) {
                    return Exceeded::Total;
                }
                shared
            }
            // Wait until others close descriptors or free memory.
            Ok((Verdict::NoLook, shared)) if last_look.elapsed() < LONGEST_BLIND => {
                pause = INTERVAL;
                seen = shared;
                continue;
            }
            Ok((Verdict::NoLook, _)) | Err(_) => return Exceeded::Unknown,
        };
        last_look = Instant::now();
        pause = (started.elapsed() * PART).clamp(INTERVAL, LONGEST_INTERVAL);
    }
}
