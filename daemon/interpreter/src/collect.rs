//! Collects the files that a program created or changed, after every process in its slot has ended, so nothing changes meanwhile.
//!
//! Links are never followed, only regular files are taken, and depth, number and size are bounded. What is left out is named.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, fchmod, fstat, openat, statat};

use crate::files::{FileStore, sha256};
use crate::limits::Limits;
use crate::slot::Stamp;
use crate::wire::WORKSPACE;

/// Most levels of directories below the workspace.
const MAX_DEPTH: usize = 32;
/// Most directory entries looked at.
const MAX_ENTRIES: usize = 20_000;
/// Most omitted files that are named; of the rest only the number is given.
const MAX_TOLD: usize = 10;
/// Longest path of a returned file, in bytes.
const MAX_PATH: usize = 1024;
/// Longest time. A file that is being read then is still finished.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The files that one execution returns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Absolute path → file id, in the order in which the files last changed.
    pub files: IndexMap<String, String>,
    /// The files that were omitted, and why: a line each.
    pub omitted: Vec<String>,
    /// A file has the largest size allowed, and the program failed: its writer was probably stopped there.
    pub cut_off: bool,
}

/// The files that were put into the workspace before the program ran: absolute path → stamp at that time, and the id of a stored file.
/// Stored files are compared by content, because on a tmpfs a write through a memory mapping does not change a file's times.
pub type Known = BTreeMap<String, (Stamp, Option<String>)>;

/// Whether the workspace still contains exactly the `known` files, unchanged. A quick check of one directory, without stored files.
pub fn is_unchanged(workspace: &OwnedFd, known: &Known) -> bool {
    if known.values().any(|(_, id)| id.is_some()) {
        return false;
    }
    let Ok(entries) = Dir::read_from(workspace) else { return false };
    let mut count = 0;
    for entry in entries {
        let Ok(entry) = entry else { return false };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        count += 1;
        let before = name.to_str().ok().and_then(|name| known.get(&format!("{WORKSPACE}{name}")));
        let now = statat(workspace, name, AtFlags::SYMLINK_NOFOLLOW);
        if count > known.len() || now.is_err() || before.map(|known| known.0) != now.ok().as_ref().map(Stamp::of) {
            return false;
        }
    }
    true
}

/// Collects the files in the directory `workspace`. Of the `known` ones only those that have changed. `failed` says whether the program
/// failed. Blocks.
pub fn collect(workspace: &OwnedFd, known: &Known, store: &FileStore, limits: &Limits, failed: bool) -> Collected {
    let collected = Collected::default();
    let device = match fstat(workspace) {
        Ok(status) => status.st_dev,
        Err(error) => return Collected { omitted: vec![format!("/workspace: {error}")], ..collected },
    };
    let mut collector = Collector {
        device,
        known,
        store,
        limits,
        failed,
        files: Vec::new(),
        collected,
        entries: 0,
        bytes: limits.workspace.0,
        untold: 0,
        deadline: Instant::now() + DEADLINE,
    };
    collector.directory(workspace, "/workspace", 0);
    if collector.untold > 0 {
        collector.collected.omitted.push(format!("and {} more", collector.untold));
    }
    let mut files = collector.files;
    // The kernel's clock of files is coarse: files of the same moment are ordered by the numbers in their names.
    files.sort_by(|one, other| one.changed.cmp(&other.changed).then_with(|| by_number(&one.path, &other.path)));
    collector.collected.files = files.into_iter().map(|file| (file.path, file.id)).collect();
    collector.collected
}

/// Compares paths by the numbers at their ends: plot.png, plot-2.png, plot-10.png.
pub fn by_number(one: &str, other: &str) -> Ordering {
    let key = |path: &str| {
        let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
        let name = stem.trim_end_matches(|character: char| character.is_ascii_digit());
        // A path without a number comes first. A number with more digits is larger.
        let number = stem[name.len()..].trim_start_matches('0');
        (name.trim_end_matches(['-', '_', ' ']).to_owned(), number.len(), number.to_owned(), path.to_owned())
    };
    key(one).cmp(&key(other))
}

struct CollectedFile {
    changed: (i64, i64),
    path: String,
    id: String,
}

struct Collector<'a> {
    /// The workspace's device.
    device: u64,
    known: &'a Known,
    store: &'a FileStore,
    limits: &'a Limits,
    failed: bool,
    files: Vec<CollectedFile>,
    /// Everything else.
    collected: Collected,
    entries: usize,
    /// How many more bytes may be stored. Bounded, because sparse files can claim more than the workspace can hold.
    bytes: u64,
    /// Omitted files that are not named.
    untold: usize,
    deadline: Instant,
}

impl Collector<'_> {
    fn directory(&mut self, directory: &OwnedFd, path: &str, depth: usize) {
        // The program may have removed its own permissions: restore them.
        let _ = fchmod(directory, Mode::RWXU);
        let entries = match Dir::read_from(directory) {
            Ok(entries) => entries,
            Err(error) => return self.omit(path, &error.to_string()),
        };
        for entry in entries {
            let Ok(entry) = entry else { return self.omit(path, "it cannot be listed") };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return self.omit(path, &format!("there are more than {MAX_ENTRIES} files"));
            }
            let Ok(text) = name.to_str() else {
                self.omit(&format!("{path}/{}", name.to_string_lossy()), "its name is not UTF-8");
                continue;
            };
            let path = format!("{path}/{text}");
            if path.len() > MAX_PATH {
                self.omit(&path.chars().take(100).collect::<String>(), "its path is too long");
                continue;
            }
            if Instant::now() > self.deadline {
                return self.omit(&path, "there was no time left to collect it");
            }
            let status = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                // A mount point, not created by the program.
                Ok(status) if status.st_dev != self.device => continue,
                status => status,
            };
            match status.map(|status| FileType::from_raw_mode(status.st_mode)) {
                Ok(FileType::Directory) if depth == MAX_DEPTH => self.omit(&path, "it is too deep"),
                Ok(FileType::Directory) => match open(directory, name, OFlags::DIRECTORY) {
                    Ok(below) => self.directory(&below, &path, depth + 1),
                    Err(error) => self.omit(&path, &error.to_string()),
                },
                Ok(FileType::RegularFile) => self.file(directory, name, path),
                Ok(_) => self.omit(&path, "it is not a regular file"),
                Err(error) => self.omit(&path, &error.to_string()),
            }
        }
    }

    fn file(&mut self, directory: &OwnedFd, name: &std::ffi::CStr, path: String) {
        let known = self.known.get(&path);
        if known.is_none() && self.files.len() as u64 >= self.limits.returned_files {
            return self.omit(&path, &format!("more than {} files", self.limits.returned_files));
        }
        let stored = open(directory, name, OFlags::NONBLOCK).and_then(|file| {
            let status = fstat(&file)?;
            let (size, stamp) = (status.st_size as u64, Stamp::of(&status));
            if self.failed && size == self.limits.file_size.0 {
                self.collected.cut_off = true;
                return Err(std::io::Error::other("it is as large as a file may be, and probably cut off"));
            }
            if size > self.bytes.min(self.limits.file_size.0) {
                return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is too large"));
            }
            match known {
                // Unchanged, such as the program's own source.
                Some((before, None)) if *before == stamp => return Ok(None),
                Some((_, Some(id))) if *id == sha256(&mut File::from(file.try_clone()?))? => return Ok(None),
                _ => {}
            }
            rustix::fs::seek(&file, SeekFrom::Start(0))?;
            self.bytes -= size;
            // Without the message, which contains a path of the host.
            let stored = self.store.put(File::from(file), size, None).map_err(|error| error.kind())?;
            Ok(Some((stamp.changed(), stored)))
        });
        match stored {
            Ok(None) => {}
            Ok(Some((changed, id))) => self.files.push(CollectedFile { changed, path, id }),
            Err(error) => self.omit(&path, &error.to_string()),
        }
    }

    fn omit(&mut self, path: &str, reason: &str) {
        if self.collected.omitted.len() < MAX_TOLD {
            self.collected.omitted.push(format!("{path}: {reason}"));
        } else {
            self.untold += 1;
        }
    }
}

/// Opens a file without following a link. Restores the permission to read if the program has removed it.
fn open(directory: &OwnedFd, name: &std::ffi::CStr, flags: OFlags) -> std::io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::ACCESS) => {
            let path = openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            // fchmod does not take an O_PATH descriptor. Its name in /proc leads to the same file, and to no link of the program's.
            let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&path.as_fd()));
            rustix::fs::chmod(own, Mode::from_raw_mode(0o700))?;
            Ok(openat(directory, name, flags, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_by_their_numbers() {
        let ordered = ["a.png", "plot.png", "plot1.png", "plot-2.png", "plot_007.png", "plot-10.png", "z.png"];
        let mut mixed = ordered.to_vec();
        mixed.reverse();
        mixed.sort_by(|one, other| by_number(one, other));
        assert_eq!(mixed, ordered);
    }
}
