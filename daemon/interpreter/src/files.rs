//! The store of the files that executions take and return: each under the SHA-256 of its content, readable by its owner only.
//!
//! A file is written under another name and then renamed to its id, so concurrent writers and a kill at any moment leave complete files
//! only. Files older than [`MAX_AGE`] are deleted, and beyond [`MAX_BYTES`] the oldest ones of the client whose files take most room. A
//! file's size is the space that it takes on the disk, because a sparse file may claim to be much larger.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{XattrFlags, fsetxattr, lgetxattr};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// How long a stored file is kept after it was last stored.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Most bytes of all stored files together, as allocated on the disk.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Least size that a file counts for, in bytes: even an empty file takes space for its name and inode.
const LEAST_BYTES: u64 = 4096;

/// The attribute of a stored file with its client. Where the file system has no attributes, all files count as one client's.
const CLIENT_ATTRIBUTE: &str = "user.client";
/// Longest name of a client, in bytes.
const MAX_CLIENT: usize = 64;

#[derive(Debug, Clone)]
pub struct FileStore {
    directory: Arc<Path>,
    /// Bytes on the disk of all stored files: counted by the last sweep, plus the files stored since.
    total: Arc<AtomicU64>,
    max_bytes: u64,
    /// Whose files are stored.
    client: Option<String>,
}

/// A stored file, as a sweep sees it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stored {
    modified: SystemTime,
    bytes: u64,
    path: PathBuf,
}

impl FileStore {
    /// Opens the store in `directory`, which is created (0700) if it does not exist.
    pub fn open(directory: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let store =
            FileStore { directory: directory.into(), total: Arc::default(), max_bytes: MAX_BYTES, client: None };
        store.sweep(MAX_AGE, MAX_BYTES)?;
        Ok(store)
    }

    /// The same store. What is put into it belongs to `client`.
    pub fn of(&self, client: Option<&str>) -> Arc<Self> {
        Arc::new(Self { client: client.map(str::to_owned), ..self.clone() })
    }

    /// Stores `content` and returns its id. Fails without storing anything if it is longer than `limit` bytes, or does not have the
    /// `expected` id.
    pub fn put(&self, mut content: impl Read, limit: u64, expected: Option<&str>) -> io::Result<String> {
        // Readable by its owner only, and deleted on an error. The file of a killed writer is deleted by age like any other.
        let mut file = NamedTempFile::new_in(&self.directory)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            let length = content.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            total += length as u64;
            if total > limit {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
            }
            digest.update(&buffer[..length]);
            // Zeros become a hole, so that a sparse file stays sparse.
            if buffer[..length].iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(length as i64))?;
            } else {
                file.write_all(&buffer[..length])?;
            }
        }
        file.as_file().set_len(total)?;
        let id = hexadecimal(digest);
        if let Some(expected) = expected
            && expected != id
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the content's SHA-256 is {id}, not {expected:?}"),
            ));
        }
        if let Some(client) = &self.client {
            // Without it the file counts as nobody's.
            let _ = fsetxattr(file.as_file(), CLIENT_ATTRIBUTE, client.as_bytes(), XattrFlags::empty());
        }
        let taken = bytes_on_disk(&file.as_file().metadata()?);
        if self.total.fetch_add(taken, Ordering::Relaxed) + taken > self.max_bytes {
            // The sweep counts the new file as well.
            self.sweep(MAX_AGE, self.max_bytes)?;
        }
        file.persist(self.directory.join(&id))?;
        Ok(id)
    }

    /// A temporary file on the same disk, without a name: it is deleted when it is closed.
    pub fn scratch(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.directory)
    }

    /// Opens a stored file; `None` if there is none with this id.
    pub fn get(&self, id: &str) -> io::Result<Option<File>> {
        // No other name in the directory can be opened.
        if !is_id(id) {
            return Ok(None);
        }
        match File::open(self.directory.join(id)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes files older than `max_age`. Then, until at most `max_bytes` remain, the oldest file of the client whose files take most room.
    pub fn sweep(&self, max_age: Duration, max_bytes: u64) -> io::Result<()> {
        let now = SystemTime::now();
        let (mut kept, mut total) = (Vec::new(), 0);
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Deleted by another sweep since it was listed.
            let Ok(metadata) = entry.metadata() else { continue };
            let file = Stored { modified: metadata.modified()?, bytes: bytes_on_disk(&metadata), path: entry.path() };
            let is_whole = entry.file_name().to_str().is_some_and(is_id);
            if now.duration_since(file.modified).is_ok_and(|age| age > max_age) {
                remove(&file.path)?;
            } else {
                total += file.bytes;
                // A file that is being written is not evicted: whose it is is not known yet.
                kept.extend(is_whole.then_some(file));
            }
        }
        if total > max_bytes {
            total = evict(kept, total, max_bytes)?;
        }
        self.total.store(total, Ordering::Relaxed);
        Ok(())
    }
}

/// Deletes files until at most `max_bytes` of `total` remain. Returns what remains.
fn evict(files: Vec<Stored>, mut total: u64, max_bytes: u64) -> io::Result<u64> {
    /// A client's files, the oldest last, and their size together.
    type Owned = (u64, Vec<Stored>);
    let mut clients: HashMap<Vec<u8>, Owned> = HashMap::new();
    for file in files {
        let (bytes, owned) = clients.entry(client_of(&file.path)).or_default();
        *bytes += file.bytes;
        owned.push(file);
    }
    clients.values_mut().for_each(|(_, owned)| owned.sort_unstable_by(|one, other| other.cmp(one)));
    while total > max_bytes {
        let heaviest = clients.values_mut().max_by_key(|(bytes, _)| *bytes);
        let Some((bytes, Some(oldest))) = heaviest.map(|(bytes, owned)| (bytes, owned.pop())) else { break };
        remove(&oldest.path)?;
        *bytes -= oldest.bytes;
        total -= oldest.bytes;
    }
    Ok(total)
}

/// Whether a file of this store may have this name.
fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Empty if nobody's.
fn client_of(path: &Path) -> Vec<u8> {
    let mut client = vec![0; MAX_CLIENT];
    let length = lgetxattr(path, CLIENT_ATTRIBUTE, client.as_mut_slice()).unwrap_or(0);
    client.truncate(length);
    client
}

fn bytes_on_disk(file: &fs::Metadata) -> u64 {
    // st_blocks counts units of 512 bytes, independent of the file system's block size.
    (file.blocks() * 512).max(LEAST_BYTES)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The id of `content`.
pub fn sha256(content: &mut impl Read) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(hexadecimal(digest)),
            length => digest.update(&buffer[..length]),
        }
    }
}

fn hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::{FileStore, LEAST_BYTES, bytes_on_disk};

    fn store() -> (tempfile::TempDir, FileStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path().join("files")).unwrap();
        (directory, store)
    }

    fn names(directory: &tempfile::TempDir) -> usize {
        std::fs::read_dir(directory.path().join("files")).unwrap().count()
    }

    #[test]
    fn content_comes_back_under_its_sha256() {
        let (_directory, store) = store();
        let id = store.put(&b"abc"[..], 3, None).unwrap();
        assert_eq!(id, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut content = String::new();
        store.get(&id).unwrap().unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");
    }

    #[test]
    fn too_much_or_unexpected_content_leaves_nothing_behind() {
        let (directory, store) = store();
        store.put(&b"abcd"[..], 3, None).unwrap_err();
        store.put(&b"abc"[..], 3, Some("0")).unwrap_err();
        assert_eq!(names(&directory), 0);
    }

    #[test]
    fn no_name_but_an_id_can_be_asked_for() {
        let (directory, store) = store();
        std::fs::write(directory.path().join("secret"), "x").unwrap();
        for id in ["../secret", "", "..", "/etc/passwd", &"A".repeat(64), &"0".repeat(64)] {
            assert!(store.get(id).unwrap().is_none(), "{id}");
        }
    }

    #[test]
    fn the_oldest_goes_first_when_there_is_too_much() {
        let (_directory, store) = store();
        let first = store.put(&b"first"[..], 10, None).unwrap();
        let later = std::time::SystemTime::now() + Duration::from_secs(1);
        let second = store.put(&b"second"[..], 10, None).unwrap();
        std::fs::File::open(store.directory.join(&second)).unwrap().set_modified(later).unwrap();
        let one = bytes_on_disk(&store.get(&second).unwrap().unwrap().metadata().unwrap());
        store.sweep(Duration::from_secs(60), one).unwrap();
        assert!(store.get(&first).unwrap().is_none());
        assert!(store.get(&second).unwrap().is_some());
    }

    #[test]
    fn the_client_whose_files_take_most_room_makes_way() {
        let (_directory, mut store) = store();
        store.max_bytes = 10 * LEAST_BYTES;
        let modest = store.of(Some("modest")).put(&b"older than all others"[..], 30, None).unwrap();
        let nobodys = store.put(&b"nobody's"[..], 30, None).unwrap();
        for path in [&modest, &nobodys].map(|id| store.directory.join(id)) {
            let earlier = std::time::SystemTime::now() - Duration::from_secs(9);
            std::fs::File::open(path).unwrap().set_modified(earlier).unwrap();
        }
        let greedy = store.of(Some("greedy"));
        let ids: Vec<_> =
            (0..40u64).map(|length| greedy.put(std::io::repeat(0).take(length), length, None).unwrap()).collect();
        let is_there = |id: &String| store.get(id).unwrap().is_some();
        assert!(is_there(&modest) && is_there(&nobodys));
        assert_eq!(ids.iter().filter(|id| is_there(id)).count(), 8);
    }

    #[test]
    fn a_file_that_is_being_written_is_not_evicted() {
        /// Content during whose reading another client's file needs all the room.
        struct Slow<'a>(&'a FileStore, bool);

        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                if std::mem::replace(&mut self.1, true) {
                    return Ok(0);
                }
                let large = vec![1; 16 * LEAST_BYTES as usize];
                self.0.of(Some("another")).put(&large[..], large.len() as u64, None)?;
                buffer[0] = b'x';
                Ok(1)
            }
        }

        let (_directory, mut store) = store();
        store.max_bytes = LEAST_BYTES;
        let id = store.put(Slow(&store, false), 10, None).unwrap();
        assert!(store.get(&id).unwrap().is_some());
    }

    #[test]
    fn a_hole_takes_no_room() {
        use std::os::unix::fs::MetadataExt;
        let (_directory, store) = store();
        let id = store.put(std::io::repeat(0).take(10 << 20), 10 << 20, None).unwrap();
        let stored = store.get(&id).unwrap().unwrap().metadata().unwrap();
        assert_eq!(stored.len(), 10 << 20);
        assert!(stored.blocks() * 512 < 1 << 20, "{} blocks", stored.blocks());
    }

    #[test]
    fn sparse_files_count_what_they_take_and_evict_nothing() {
        let (_directory, mut store) = store();
        store.max_bytes = 64 * LEAST_BYTES;
        let first = store.put(&b"first"[..], 10, None).unwrap();
        for length in 1..9 {
            let claimed = (length << 20) + 1;
            store.put(std::io::repeat(0).take(claimed), claimed, None).unwrap();
        }
        store.sweep(Duration::from_secs(60), store.max_bytes).unwrap();
        assert!(store.get(&first).unwrap().is_some());
    }

    #[test]
    fn files_without_content_are_bounded_as_well() {
        let (directory, mut store) = store();
        store.max_bytes = 4 * LEAST_BYTES;
        (1..20).for_each(|length| drop(store.put(std::io::repeat(0).take(length), length, None).unwrap()));
        assert!(names(&directory) <= 4, "{}", names(&directory));
    }

    #[test]
    fn more_than_fits_makes_the_oldest_go_and_stays_itself() {
        let (_directory, mut store) = store();
        let first = store.put(&b"first"[..], 10, None).unwrap();
        let earlier = std::time::SystemTime::now() - Duration::from_secs(1);
        std::fs::File::open(store.directory.join(&first)).unwrap().set_modified(earlier).unwrap();
        store.max_bytes = 16 * LEAST_BYTES;
        let large = vec![1; 16 * LEAST_BYTES as usize];
        let second = store.put(&large[..], large.len() as u64, None).unwrap();
        assert!(store.get(&first).unwrap().is_none());
        assert!(store.get(&second).unwrap().is_some());
    }

    #[test]
    fn what_is_old_goes() {
        let (directory, store) = store();
        store.put(&b"abc"[..], 3, None).unwrap();
        store.sweep(Duration::from_secs(60), super::MAX_BYTES).unwrap();
        assert_eq!(names(&directory), 1);
        store.sweep(Duration::ZERO, 1000).unwrap();
        assert_eq!(names(&directory), 0);
    }
}
