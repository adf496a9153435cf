//! Bytecode of an environment's packages, kept for programs where none lies beside the source. Programs see it read-only, at
//! [`runner::BYTECODE`], and every Python in a slot looks there (`runner/site/sitecustomize.py`).
//!
//! A slot of its own compiles, and sends the bytecode through a pipe. Only this process writes it, under names that it chose itself. Python
//! compares the source's time (in seconds) and size with those in the bytecode, as it does with bytecode beside the source.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::channel::Rehearsal;
use crate::prepare::Prepared;
use crate::python::Packages;
use crate::run::Run;
use crate::runner;
use crate::sandbox::Bind;
use crate::slot::{Slot, SlotError, put};
use crate::spawner::SpawnerHandle;

const PROGRAM: &str = include_str!("../runner/compile.py");
/// The place in the program where the paths are inserted.
const PLACE: &str = "# Here `bytecode.rs` writes";
/// Longest wait for the disk before programs run without kept bytecode.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// Longest time to compile. The next workshop goes on with what is left.
const DEADLINE: Duration = Duration::from_secs(15 * 60);
/// Most bytes kept for one environment.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// Longest source, in bytes. A longer one is left to the programs that import it: to compile 1 MiB can take 600 MiB of memory.
const LONGEST_SOURCE: u64 = 512 * 1024;
/// Longest bytecode, in bytes.
const LONGEST: u64 = 4 * 1024 * 1024;
/// How many sources may end the process that compiles.
const MOST_FAILURES: usize = 16;
/// A temporary file that is older was left by a process that was killed.
const TEMPORARY_AGE: Duration = Duration::from_secs(60 * 60);
/// Most sources compiled for one workshop.
const MOST_SOURCES: usize = 20_000;
/// Deepest directory below `site-packages`.
const DEEPEST: usize = 24;
/// How long the bytecode of an environment is kept after its last use.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The bytecode's header: magic number, flags, the source's time and size, four bytes each.
const HEADER: usize = 16;

/// The directory of one environment's bytecode.
#[derive(Debug, Clone)]
pub struct Bytecode {
    directory: PathBuf,
    packages: Packages,
}

/// A source without bytecode beside it.
struct Source {
    path: PathBuf,
    /// Where its bytecode is kept.
    kept: PathBuf,
    stamp: [u8; 8],
}

impl Bytecode {
    /// Makes the environment's directory below `parent`, and removes those that were not used for long. `None` if it cannot be made, which
    /// is logged once.
    pub async fn open(parent: &Path, packages: &Packages) -> Option<Self> {
        if packages.cache_tag.is_empty() || packages.directories.is_empty() {
            return None;
        }
        let (parent, directory) = (parent.to_owned(), parent.join(name_of(packages)));
        // The disk may be slow.
        let made = tokio::task::spawn_blocking({
            let directory = directory.clone();
            move || prepare(&parent, &directory)
        });
        let made = match timeout(OPEN_DEADLINE, made).await {
            Ok(made) => made.map_err(io::Error::other).and_then(|made| made),
            Err(late) => Err(late.into()),
        };
        match made {
            Ok(()) => Some(Bytecode { directory, packages: packages.clone() }),
            Err(error) => {
                warn_once(&directory, &error);
                None
            }
        }
    }

    pub fn bind(&self) -> Bind {
        Bind { source: self.directory.clone(), target: runner::BYTECODE.into() }
    }

    /// Compiles what lacks bytecode, in a slot of `spawner`.
    pub async fn fill(self, spawner: Arc<SpawnerHandle>) {
        let looked = tokio::task::spawn_blocking({
            let bytecode = self.clone();
            move || bytecode.missing()
        });
        let Ok((sources, held)) = looked.await else { return };
        if sources.is_empty() {
            return;
        }
        let missing = sources.len();
        tracing::info!(missing, "compiling packages that have no bytecode");
        match timeout(DEADLINE, self.compile_all(&spawner, sources, held)).await {
            Ok(Ok(())) => tracing::info!(missing, "packages are compiled"),
            Ok(Err(SlotError::Io(error))) => warn_once(&self.directory, &error),
            Ok(Err(error)) => tracing::debug!(%error, "packages cannot be compiled"),
            Err(_) => tracing::debug!("packages were not compiled in time"),
        }
    }

    /// The sources without bytecode, and how many bytes are kept already.
    fn missing(&self) -> (Vec<Source>, u64) {
        let mut sources = Vec::new();
        for packages in &self.packages.directories {
            self.look(packages, 0, &mut sources);
        }
        (sources, self.tidy(&self.directory, 0))
    }

    /// Removes what belongs to no source any more. Returns the size of the rest.
    fn tidy(&self, directory: &Path, depth: usize) -> u64 {
        let mut held = 0;
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, Ok(status)) = (entry.path(), entry.metadata()) else { continue };
            if status.is_dir() {
                // The environment's own path is above its packages.
                held += if depth < 2 * DEEPEST { self.tidy(&path, depth + 1) } else { 0 };
                // Fails if it is not empty.
                let _ = fs::remove_dir(&path);
                continue;
            }
            let age = status.modified().ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default();
            let is_left = match self.source_of(&path) {
                Some(source) => !source.exists(),
                None => age > TEMPORARY_AGE,
            };
            if !is_left || fs::remove_file(&path).is_err() {
                held += status.len();
            }
        }
        held
    }

    /// The source of kept bytecode. None for a temporary file.
    fn source_of(&self, kept: &Path) -> Option<PathBuf> {
        let below = kept.strip_prefix(&self.directory).ok()?;
        let stem = kept.file_name()?.to_str()?.strip_suffix(&format!(".{}.pyc", self.packages.cache_tag))?;
        Some(Path::new("/").join(below.parent()?.parent()?).join(format!("{stem}.py")))
    }

    fn look(&self, directory: &Path, depth: usize, sources: &mut Vec<Source>) {
        let beside: BTreeSet<_> = fs::read_dir(directory.join("__pycache__"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|one| one.file_name())
            .collect();
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            // Links are not followed.
            let (Ok(status), Some(name)) = (entry.metadata(), name.to_str()) else { continue };
            if status.is_dir() && depth < DEEPEST && !["__pycache__", "tests"].contains(&name) {
                self.look(&path, depth + 1, sources);
            }
            let Some(stem) = name.strip_suffix(".py") else { continue };
            let compiled = format!("{stem}.{}.pyc", self.packages.cache_tag);
            let fits = status.is_file() && status.len() <= LONGEST_SOURCE && sources.len() < MOST_SOURCES;
            if !fits || beside.contains(AsRef::<std::ffi::OsStr>::as_ref(&compiled)) || path.to_str().is_none() {
                continue;
            }
            let Ok(below) = directory.strip_prefix("/") else { continue };
            let kept = self.directory.join(below).join("__pycache__").join(compiled);
            let stamp = stamp(&status);
            if !is_current(&kept, stamp).unwrap_or(false) {
                sources.push(Source { path, kept, stamp });
            }
        }
    }

    /// A source at which the process ends that compiles is left out, and the next slot goes on after it. The next workshop tries it again: the
    /// process may have ended for another reason.
    async fn compile_all(
        &self,
        spawner: &Arc<SpawnerHandle>,
        mut sources: Vec<Source>,
        mut held: u64,
    ) -> Result<(), SlotError> {
        for _ in 0..MOST_FAILURES {
            let Some(failed) = self.compile(spawner, &mut sources, &mut held).await? else { break };
            tracing::debug!(source = %failed.path.display(), "the process that compiles has ended at this source");
        }
        Ok(())
    }

    /// Compiles and removes one source after the other. Returns the one that ended the process.
    async fn compile(
        &self,
        spawner: &Arc<SpawnerHandle>,
        sources: &mut Vec<Source>,
        held: &mut u64,
    ) -> Result<Option<Source>, SlotError> {
        let paths: Vec<&Path> = sources.iter().map(|source| source.path.as_path()).collect();
        let values = format!("SOURCES, LONGEST = {}, {LONGEST}\n{PLACE}", serde_json::json!(paths));
        let prepared = Prepared::of_source(PROGRAM.replace(PLACE, &values));
        let (slot, child) = Slot::build(spawner.clone(), Rehearsal::Imports).await?;
        {
            let _as_program = spawner.policy.identity.act();
            put(&slot.workspace, prepared.script.as_ref(), prepared.source_code.as_bytes())?;
        }
        let mut run = Run::start(&slot, child, &prepared.job(&spawner.launch))?;
        sources.reverse();
        let mut number = 0;
        while let Some(source) = sources.pop() {
            let Ok(bytecode) = receive(run.stdout(), number).await else {
                sources.reverse();
                return Ok(Some(source));
            };
            number += 1;
            *held += bytecode.len() as u64;
            if *held > MAX_BYTES {
                tracing::debug!(limit = MAX_BYTES, "no more bytecode is kept");
                break;
            }
            self.keep(source, bytecode).await?;
        }
        Ok(None)
    }

    async fn keep(&self, source: Source, bytecode: Vec<u8>) -> io::Result<()> {
        let magic = self.packages.magic;
        tokio::task::spawn_blocking(move || keep(&source, &bytecode, magic)).await.map_err(io::Error::other)?
    }
}

/// One source's bytecode, empty if it cannot be compiled.
async fn receive(from: &mut (impl AsyncRead + Unpin), number: u32) -> io::Result<Vec<u8>> {
    let (claimed, length) = (from.read_u32_le().await?, from.read_u32_le().await?);
    if claimed != number || u64::from(length) > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytecode = vec![0; length as usize];
    from.read_exact(&mut bytecode).await?;
    Ok(bytecode)
}

fn prepare(parent: &Path, directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    fs::set_permissions(parent, Permissions::from_mode(0o700))?;
    // If root runs the interpreter, programs are another user, who must be able to read.
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    File::open(directory)?.set_modified(SystemTime::now())?;
    remove_unused(parent)
}

/// An environment's directory is named by what decides which bytecode is valid there.
fn name_of(packages: &Packages) -> String {
    let mut digest = Sha256::new();
    for part in [packages.version.as_str(), packages.cache_tag.as_str()] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    for directory in &packages.directories {
        digest.update(directory.as_os_str().as_encoded_bytes());
        digest.update([0]);
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A source's time and size, as bytecode has them.
fn stamp(source: &Metadata) -> [u8; 8] {
    let mut stamp = [0; 8];
    stamp[..4].copy_from_slice(&(source.mtime() as u32).to_le_bytes());
    stamp[4..].copy_from_slice(&(source.len() as u32).to_le_bytes());
    stamp
}

/// Whether `kept` is of this source.
fn is_current(kept: &Path, stamp: [u8; 8]) -> io::Result<bool> {
    let mut header = [0; HEADER];
    File::open(kept)?.read_exact(&mut header)?;
    Ok(header[8..] == stamp)
}

/// Writes the bytecode of `source`, or a header without a magic number if there is none: Python ignores that, and it is not tried again until the
/// source changes. Left out if it is no bytecode of this source as it was looked at.
fn keep(source: &Source, bytecode: &[u8], magic: [u8; 4]) -> io::Result<()> {
    let (mut nothing, mut header) = ([0; HEADER], [0; HEADER]);
    nothing[8..].copy_from_slice(&source.stamp);
    // Flags other than 0 would have Python use it without a look at the source.
    header[..4].copy_from_slice(&magic);
    header[8..].copy_from_slice(&source.stamp);
    let content = if bytecode.is_empty() { &nothing } else { bytecode };
    if !bytecode.is_empty() && !bytecode.starts_with(&header) {
        return Ok(());
    }
    let directory = source.kept.parent().unwrap_or(Path::new("/"));
    make(directory)?;
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    // Renamed, so that no program reads a part of it.
    file.persist(&source.kept).map_err(|error| error.error)?;
    Ok(())
}

/// Makes a directory, and those above it, that the program's user can read, whatever this process's umask.
fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            let above = directory.parent().filter(|_| error.kind() == io::ErrorKind::NotFound).ok_or(error)?;
            make(above)?;
            make(directory)
        }
    }
}

/// What cannot be removed stays: it may be another interpreter's, which removes it as well.
fn remove_unused(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        let modified = entry.metadata().and_then(|status| status.modified());
        if modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > MAX_AGE)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

fn warn_once(directory: &Path, error: &io::Error) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(directory = %directory.display(), %error, "bytecode is not kept any further, so programs compile what they import");
    }
}
