//! Watches the memory of a slot where no control group bounds it: all of its processes together, with what they wrote to its
//! memory-backed places. Between two looks a program can take more. When memory is short, the kernel ends programs first.

mod look;
mod processes;

use std::time::{Duration, Instant};

use crate::slot::Slot;
use crate::total::Share;
pub use look::Exceeded;
use look::{Look, SharedMemory, Verdict};
pub use processes::count as count_tasks;

/// Between two looks, at least.
const INTERVAL: Duration = Duration::from_millis(50);
/// And at most: in this time a program takes no more than the machine has.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);
/// How long a program runs unseen, where this process has no descriptors or memory left to look with.
const LONGEST_BLIND: Duration = Duration::from_secs(10);
/// Else never more than this part of the time is spent looking.
const PART: u32 = 10;

/// Ends when the slot uses more than `limit` bytes, or so much else that nobody can say what it uses.
pub async fn exceeds(slot: &Slot, share: &Share, limit: u64) -> Exceeded {
    let mut pause = INTERVAL;
    let mut seen = SharedMemory::default();
    let mut last_look = Instant::now();
    loop {
        tokio::time::sleep(pause).await;
        let look = Look {
            workspace: slot.workspace.clone(),
            first: slot.processes[0],
            network: slot.workshop.policy.network,
            limit,
            room: share.room(),
        };
        let started = Instant::now();
        // Off the event loop: a program decides how much there is to look at.
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
            // Others give back what is short, or this process could not serve either.
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
