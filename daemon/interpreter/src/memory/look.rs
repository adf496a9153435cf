//! One look at the memory of a slot: first an upper bound that is cheap, and the exact number only if that exceeds the limit.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::fstatvfs;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::time::{ClockId, clock_gettime};

use super::processes::{Mappings, Process, processes};
use crate::sandbox::Network;

/// A look that is not done after so much work is of a program that has made it so: by processes or mappings without number.
const MOST_WORK: Duration = Duration::from_secs(1);
/// The same by the clock, which also runs while others have the processors.
const LONGEST_LOOK: Duration = Duration::from_secs(20);
/// What the kernel keeps for a mapping.
const MAPPING: u64 = 256;
/// Sockets that are not counted: as many as one process can have.
const FREE_SOCKETS: u64 = 256;

/// How a program has exceeded its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    Limit,
    /// With others, what all may hold together.
    Total,
    /// A look could not be finished.
    Unknown,
}

pub enum Verdict {
    /// And how much it holds: at most so, or exactly.
    Within {
        held: u64,
        exact: bool,
    },
    Exceeded(Exceeded),
    /// This process has no descriptors or memory left to look with.
    NoLook,
}

/// The largest extent that was ever seen of each piece of shared memory, by its inode, while any of it is mapped: what was let go of
/// in a mapping stays with the piece.
pub type SharedMemory = BTreeMap<u64, u64>;

pub struct Look {
    pub workspace: Arc<OwnedFd>,
    /// The slot's first process.
    pub first: Pid,
    pub network: Network,
    pub limit: u64,
    /// What others leave of what all may hold together.
    pub room: u64,
}

/// Why a look was not finished.
enum Unfinished {
    /// There is too much to look at, or it cannot be looked at.
    TooMuch,
    /// This process lacks what it takes.
    Short,
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Self::Short,
            _ => Self::TooMuch,
        }
    }
}

impl Look {
    pub fn take(&self, shared: &mut SharedMemory) -> Verdict {
        match self.measure(shared) {
            Ok((held, _)) if held > self.limit => Verdict::Exceeded(Exceeded::Limit),
            Ok((held, exact)) => Verdict::Within { held, exact },
            Err(Unfinished::TooMuch) => Verdict::Exceeded(Exceeded::Unknown),
            Err(Unfinished::Short) => Verdict::NoLook,
        }
    }

    /// What the slot holds, at most or exactly. What is shared after a fork is counted for each of its owners, and exactly only when
    /// it matters.
    fn measure(&self, shared: &mut SharedMemory) -> Result<(u64, bool), Unfinished> {
        let bound = Bound::start();
        let processes = processes(self.first)?;
        let enough = self.limit.min(self.room);
        let others = self.stored() + self.sockets();
        let mut own = self.sum(&bound, &processes, Process::resident)?;
        let mut exact = others.saturating_add(own) > enough;
        if exact {
            own = self.sum(&bound, &processes, Process::proportional)?;
        }
        let mut total = others.saturating_add(own);
        if total > self.limit {
            return Ok((total, exact));
        }
        total = total.saturating_add(self.mappings(&bound, &processes, shared)?);
        if total > enough && !exact {
            total = total - own + self.sum(&bound, &processes, Process::proportional)?;
            exact = true;
        }
        Ok((total, exact))
    }

    /// Shared memory, and what the kernel keeps for mappings.
    fn mappings(&self, bound: &Bound, processes: &[Process], shared: &mut SharedMemory) -> Result<u64, Unfinished> {
        let (mut seen, mut total) = (SharedMemory::new(), 0);
        for process in processes {
            bound.check()?;
            let Mappings { number, shared } = process.mappings()?;
            total += number * MAPPING;
            for (inode, extent) in shared {
                let largest = seen.entry(inode).or_default();
                *largest = extent.max(*largest);
            }
        }
        for (inode, extent) in &mut seen {
            *extent = shared.get(inode).copied().unwrap_or(0).max(*extent);
        }
        *shared = seen;
        Ok(shared.values().fold(total, |total, extent| total.saturating_add(*extent)))
    }

    fn sum(&self, bound: &Bound, processes: &[Process], own: fn(&Process) -> u64) -> Result<u64, Unfinished> {
        processes.iter().try_fold(0, |sum: u64, process| {
            bound.check()?;
            Ok(sum.saturating_add(own(process)))
        })
    }

    /// What is written to the slot's places.
    fn stored(&self) -> u64 {
        fstatvfs(self.workspace.as_fd()).map_or(0, |status| (status.f_blocks - status.f_bfree) * status.f_frsize)
    }

    /// What sockets can hold, where there are many: the kernel does not tell what they do hold.
    fn sockets(&self) -> u64 {
        if self.network != Network::None {
            // The number would be the host's.
            return 0;
        }
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let buffer = |way| read(&format!("/proc/sys/net/core/{way}mem_default")).trim().parse::<u64>().unwrap_or(0);
        let counts = read(&format!("/proc/{}/net/sockstat", self.first.as_raw_nonzero()));
        let used = counts.lines().find_map(|line| line.strip_prefix("sockets: used ")?.trim().parse::<u64>().ok());
        used.unwrap_or(0).saturating_sub(FREE_SOCKETS) * buffer('r').max(buffer('w'))
    }
}

struct Bound {
    started: Instant,
    work: Duration,
}

impl Bound {
    fn start() -> Self {
        Bound { started: Instant::now(), work: work() }
    }

    fn check(&self) -> Result<(), Unfinished> {
        let done = work().saturating_sub(self.work) < MOST_WORK && self.started.elapsed() < LONGEST_LOOK;
        done.then_some(()).ok_or(Unfinished::TooMuch)
    }
}

/// What this thread has worked, however busy the machine is.
fn work() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
