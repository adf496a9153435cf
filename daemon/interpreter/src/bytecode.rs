//! Bytecode of an environment's packages, kept for programs where none lies beside the source. Programs see it read-only, at
//! [`runner::BYTECODE`], and every Python in a slot looks there (`runner/site/sitecustomize.py`).
//!
//! A slot of its own compiles, and sends the bytecode through a pipe. Only this process writes it, under names that it chose itself. Python
//! compares the source's time and size with those in the bytecode, so an outdated one is never used.

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
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::channel::Need;
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
/// Longest source, and longest bytecode, in bytes. Longer sources are left to the programs that import them.
const LONGEST: u64 = 4 * 1024 * 1024;
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
        if packages.cache_tag.is_empty() {
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
        match timeout(DEADLINE, self.compile(&spawner, sources, held)).await {
            Ok(Ok(kept)) => tracing::info!(kept, missing, "packages are compiled"),
            Ok(Err(SlotError::Io(error))) => warn_once(&self.directory, &error),
            Ok(Err(error)) => tracing::debug!(%error, "packages cannot be compiled"),
            Err(_) => tracing::debug!("packages were not compiled in time"),
        }
    }

    /// The sources without bytecode, and how many bytes are kept already.
    fn missing(&self) -> (Vec<Source>, u64) {
        let (mut sources, mut held) = (Vec::new(), 0);
        for packages in &self.packages.directories {
            self.look(packages, 0, &mut sources, &mut held);
        }
        (sources, held)
    }

    fn look(&self, directory: &Path, depth: usize, sources: &mut Vec<Source>, held: &mut u64) {
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
                self.look(&path, depth + 1, sources, held);
            }
            let Some(stem) = name.strip_suffix(".py") else { continue };
            let compiled = format!("{stem}.{}.pyc", self.packages.cache_tag);
            let fits = status.is_file() && status.len() <= LONGEST && sources.len() < MOST_SOURCES;
            if !fits || beside.contains(AsRef::<std::ffi::OsStr>::as_ref(&compiled)) || path.to_str().is_none() {
                continue;
            }
            let Ok(below) = directory.strip_prefix("/") else { continue };
            let kept = self.directory.join(below).join("__pycache__").join(compiled);
            let stamp = stamp(&status);
            match is_current(&kept, stamp, &status) {
                Ok(true) => *held += fs::metadata(&kept).map_or(0, |kept| kept.len()),
                _ => sources.push(Source { path, kept, stamp }),
            }
        }
    }

    /// Returns how many sources have bytecode now.
    async fn compile(
        &self,
        spawner: &Arc<SpawnerHandle>,
        sources: Vec<Source>,
        mut held: u64,
    ) -> Result<usize, SlotError> {
        let paths: Vec<&Path> = sources.iter().map(|source| source.path.as_path()).collect();
        let values = format!("SOURCES = {}\n{PLACE}", serde_json::json!(paths));
        let prepared = Prepared::of_source(PROGRAM.replace(PLACE, &values));
        let (slot, child) = Slot::build(spawner.clone(), Need::Later).await?;
        {
            let _as_program = spawner.policy.identity.act();
            put(&slot.workspace, prepared.script.as_ref(), prepared.source_code.as_bytes())?;
        }
        let mut run = Run::start(&slot, child, &prepared.job(&spawner.launch))?;
        let mut kept = 0;
        for (number, source) in sources.into_iter().enumerate() {
            let stdout = run.stdout();
            let (claimed, length) = (stdout.read_u32_le().await?, stdout.read_u32_le().await?);
            if claimed as usize != number || u64::from(length) > LONGEST {
                return Err(io::Error::from(io::ErrorKind::InvalidData).into());
            }
            let mut bytecode = vec![0; length as usize];
            stdout.read_exact(&mut bytecode).await?;
            held += u64::from(length);
            if held > MAX_BYTES {
                tracing::debug!(limit = MAX_BYTES, "no more bytecode is kept");
                break;
            }
            let written =
                tokio::task::spawn_blocking(move || keep(&source, &bytecode)).await.map_err(io::Error::other)?;
            kept += usize::from(written?);
        }
        Ok(kept)
    }
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

/// Whether `kept` is of this source. An empty one says that the source cannot be compiled; Python ignores it.
fn is_current(kept: &Path, stamp: [u8; 8], source: &Metadata) -> io::Result<bool> {
    let mut file = File::open(kept)?;
    let status = file.metadata()?;
    if status.len() == 0 {
        return Ok((status.mtime(), status.mtime_nsec()) > (source.mtime(), source.mtime_nsec()));
    }
    let mut header = [0; HEADER];
    file.read_exact(&mut header)?;
    Ok(header[8..] == stamp)
}

/// Writes the bytecode of `source`. False if there is none. Left out if the source has changed since it was looked at.
fn keep(source: &Source, bytecode: &[u8]) -> io::Result<bool> {
    if !bytecode.is_empty() && bytecode.get(8..HEADER) != Some(source.stamp.as_slice()) {
        return Ok(false);
    }
    let directory = source.kept.parent().unwrap_or(Path::new("/"));
    make(directory)?;
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(bytecode)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    // Renamed, so that no program reads a part of it.
    file.persist(&source.kept).map_err(|error| error.error)?;
    Ok(!bytecode.is_empty())
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

fn remove_unused(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if age > MAX_AGE {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn warn_once(directory: &Path, error: &io::Error) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(directory = %directory.display(), %error, "bytecode is not kept, so programs compile what they import");
    }
}
