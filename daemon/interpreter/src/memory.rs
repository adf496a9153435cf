//! Watches the memory of a slot where no control group bounds it: all of its processes together, with what they wrote to its
//! memory-backed places. Between two looks a program can take more; what the kernel then ends first is the program.

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
/// Else never more than this part of the time is spent looking.
const PART: u32 = 10;

/// Ends when the slot uses more than `limit` bytes, or so much else that nobody can say what it uses.
pub async fn exceeds(slot: &Slot, share: &Share, limit: u64) -> Exceeded {
    let mut pause = INTERVAL;
    let mut shared = SharedMemory::default();
    loop {
        tokio::time::sleep(pause).await;
        let Ok(workspace) = slot.workspace.try_clone() else { continue };
        let look = Look {
            workspace,
            first: slot.processes[0],
            network: slot.workshop.policy.network,
            limit,
            room: share.room(),
        };
        let started = Instant::now();
        // Off the event loop: a program decides how much there is to look at.
        let looked = tokio::task::spawn_blocking(move || {
            let verdict = look.take(&mut shared);
            (verdict, shared)
        });
        shared = match looked.await {
            Ok((Verdict::Exceeded(how), _)) => return how,
            Ok((Verdict::Within { held, exact }, shared)) => {
                if share.holds(held, exact) {
                    return Exceeded::Total;
                }
                shared
            }
            Err(_panicked) => return Exceeded::Unknown,
        };
        pause = (started.elapsed() * PART).clamp(INTERVAL, LONGEST_INTERVAL);
    }
}
