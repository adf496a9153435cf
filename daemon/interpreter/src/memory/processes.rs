//! What /proc reports about the processes of a slot. A process that has ended meanwhile has no memory.

use std::fs;
use std::io;

use rustix::process::Pid;

/// A process's directory in the slot's own /proc.
pub struct Process(String);

/// Memory mappings of one process.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mappings {
    pub number: u64,
    /// Shared memory without a file: inode and extent in bytes.
    pub shared: Vec<(u64, u64)>,
}

/// All processes of the slot with the first process `first`. /proc lists them in the order of their ids, so a process that is forked
/// during the look is found as well.
pub fn processes(first: Pid) -> io::Result<Vec<Process>> {
    let directory = format!("/proc/{}/root/proc", first.as_raw_nonzero());
    let entries = match fs::read_dir(&directory) {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_process = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    Ok(names.filter(is_process).map(|name| Process(format!("{directory}/{name}"))).collect())
}

/// The number of processes and threads.
pub fn count(first: Pid) -> io::Result<u64> {
    let threads =
        |process: &Process| fs::read_dir(format!("{}/task", process.0)).map_or(0, |tasks| tasks.count() as u64);
    Ok(processes(first)?.iter().map(threads).sum())
}

impl Process {
    /// Bytes of private memory. Pages shared after a fork count in full.
    pub fn resident(&self) -> u64 {
        self.status(&["RssAnon:", "VmSwap:", "VmPTE:", "HugetlbPages:"]).unwrap_or(0)
    }

    /// The same, but pages that several processes share count in proportion. If the kernel does not report it, [`Self::resident`].
    pub fn proportional(&self) -> u64 {
        let rollup = self.read("smaps_rollup").ok().and_then(|rollup| fields(&rollup, &["Pss_Anon:", "SwapPss:"]));
        let others = || self.status(&["VmPTE:", "HugetlbPages:"]).unwrap_or(0);
        rollup.map_or_else(|| self.resident(), |own| own + others())
    }

    pub fn mappings(&self) -> io::Result<Mappings> {
        match self.read("maps") {
            Ok(text) if text.is_empty() => Ok(self
                .other_thread()
                .and_then(|it| it.read("maps").ok())
                .map_or_else(Mappings::default, |text| mappings(&text))),
            Ok(text) => Ok(mappings(&text)),
            Err(error) if is_gone(&error) => Ok(Mappings::default()),
            Err(error) => Err(error),
        }
    }

    fn status(&self, names: &[&str]) -> Option<u64> {
        let of = |process: &Process| fields(&process.read("status").ok()?, names);
        of(self).or_else(|| of(&self.other_thread()?))
    }

    /// A thread that still has memory, if the first thread has ended and the process continues without it.
    fn other_thread(&self) -> Option<Process> {
        let threads = fs::read_dir(format!("{}/task", self.0)).ok()?;
        let mut threads = threads.filter_map(|thread| Some(Process(thread.ok()?.path().to_str()?.to_owned())));
        threads.find(|thread| thread.read("status").is_ok_and(|status| status.contains("RssAnon:")))
    }

    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(format!("{}/{name}", self.0))
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The sum of fields that are in kilobytes, in bytes. `None` if the first is missing. Older kernels lack some of the others.
fn fields(text: &str, names: &[&str]) -> Option<u64> {
    let field = |name: &&str| {
        let value = text.lines().find_map(|line| line.strip_prefix(*name))?;
        value.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    };
    let first = names.first().and_then(field)?;
    Some(names[1..].iter().filter_map(field).fold(first, u64::saturating_add))
}

fn mappings(text: &str) -> Mappings {
    let mut mappings = Mappings::default();
    for line in text.lines() {
        mappings.number += 1;
        mappings.shared.extend(shared(line));
    }
    mappings
}

/// Inode and extent of a mapping of shared memory without a file. The extent is how far into the memory the mapping reaches, in bytes.
fn shared(line: &str) -> Option<(u64, u64)> {
    // "from-to rights offset device inode path". The program may have replaced the path by a name (PR_SET_VMA).
    let (range, rest) = line.split_once(' ')?;
    let (rights, rest) = rest.split_once(' ')?;
    let mut fields = rest.split_ascii_whitespace();
    let (offset, inode) = (u64::from_str_radix(fields.next()?, 16).ok()?, fields.nth(1)?.parse().ok()?);
    let is_nameless = rest.ends_with("/dev/zero (deleted)") || fields.next()?.starts_with("[anon_shmem:");
    let (from, to) = range.split_once('-')?;
    let size = u64::from_str_radix(to, 16).ok()?.checked_sub(u64::from_str_radix(from, 16).ok()?)?;
    (rights.ends_with('s') && is_nameless).then(|| (inode, offset.saturating_add(size)))
}

#[cfg(test)]
mod tests {
    use super::{fields, mappings};

    #[test]
    fn shared_memory_is_known_by_its_inode_whatever_its_name() {
        let text = "7f0000000000-7f0000100000 rw-s 00000000 00:01 77 /dev/zero (deleted)
7f0000100000-7f0000101000 r--s 00200000 00:01 77 /dev/zero (deleted)
7f0000200000-7f0000300000 rw-s 00001000 00:01 78                         [anon_shmem:a name (deleted)]
7f0000400000-7f0000500000 rw-p 00000000 00:00 0                          [anon:a name]
7f0000600000-7f0000700000 rw-s 00000000 00:2f 9                          /tmp/file
7f0000800000-7f0000900000 rw-p 00000000 00:00 0 
";
        let mappings = mappings(text);
        assert_eq!(mappings.number, 6);
        assert_eq!(mappings.shared, [(77, 0x10_0000), (77, 0x20_1000), (78, 0x10_1000)]);
    }

    #[test]
    fn fields_are_summed_in_bytes() {
        let status = "VmPTE:\t      50 kB\nRssAnon:\t    1024 kB\nVmSwap:\t       6 kB\n";
        assert_eq!(fields(status, &["RssAnon:", "VmSwap:", "HugetlbPages:"]), Some(1030 << 10));
        assert_eq!(fields("State:\tZ\n", &["RssAnon:"]), None);
    }
}
