//! Measures the memory of a slot: first a cheap upper bound, and the exact number only if that exceeds the limit.

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

/// Most CPU time for a look. Only a program with a huge number of processes or mappings makes it take longer.
const MOST_WORK: Duration = Duration::from_secs(1);
/// Longest look by the clock, which also runs while other processes have the CPUs.
const LONGEST_LOOK: Duration = Duration::from_secs(20);
/// Bytes that the kernel needs for a mapping.
const MAPPING: u64 = 256;
/// This many sockets are not counted: as many as one process can have.
const FREE_SOCKETS: u64 = 256;

/// How a program has exceeded its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// Its own limit.
    Limit,
    /// The limit of all programs together.
    Total,
    /// The look could not be finished.
    Unknown,
}

pub enum Verdict {
    /// `held` is exact, or an upper bound. In bytes.
    Within {
        held: u64,
        exact: bool,
    },
    Exceeded(Exceeded),
    /// This process has no descriptors or memory left for a look.
    NoLook,
}

/// Inode of each piece of shared memory that is mapped → the largest extent ever seen. Unmapping a part does not free it.
pub type SharedMemory = BTreeMap<u64, u64>;

pub struct Look {
    pub workspace: Arc<OwnedFd>,
    /// The slot's first process.
    pub first: Pid,
    pub network: Network,
    pub limit: u64,
    /// How much the other programs leave of the total, in bytes.
    pub room: u64,
}

/// Why a look was not finished.
enum Unfinished {
    /// There is too much to look at, or it cannot be read.
    TooMuch,
    /// This process has no descriptors or memory left.
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

    /// The slot's memory in bytes, and whether that is exact. The upper bound counts memory that is shared after a fork for each process.
    /// The exact number is slow, and only determined when it matters.
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

    /// Bytes of shared memory, and of the kernel's memory for mappings.
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

    /// Bytes of the files in the slot's writable places.
    fn stored(&self) -> u64 {
        fstatvfs(self.workspace.as_fd()).map_or(0, |status| (status.f_blocks - status.f_bfree) * status.f_frsize)
    }

    /// Most bytes that the slot's sockets can buffer, if it has many. The kernel does not report how many they do buffer.
    fn sockets(&self) -> u64 {
        if self.network != Network::None {
            // The count would include the host's sockets.
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

/// CPU time of this thread.
fn work() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
