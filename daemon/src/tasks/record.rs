//! Tasks on disk: one file each, readable by its owner only, written aside and renamed. Without a directory nothing is kept.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rmcp::model::DetailedTask;
use tempfile::NamedTempFile;

const SUFFIX: &str = "json";
/// A record that is larger is none of ours.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

pub struct Records {
    directory: Option<PathBuf>,
}

impl Records {
    pub fn open(directory: Option<PathBuf>) -> Self {
        let directory = directory.and_then(|directory| {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            match made {
                Ok(()) => Some(directory),
                Err(error) => {
                    tracing::warn!(%error, "tasks cannot be kept: their results end with this daemon");
                    None
                }
            }
        });
        Self { directory }
    }

    /// Everything that can be read; what cannot is removed.
    pub fn read(&self) -> Vec<DetailedTask> {
        let entries = self.directory.as_ref().and_then(|directory| fs::read_dir(directory).ok());
        let paths = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        paths
            .filter_map(|path| {
                let known = read(&path);
                if known.is_none() {
                    // Half a record of a daemon that was killed while it wrote.
                    let _ = fs::remove_file(&path);
                }
                known
            })
            .collect()
    }

    /// A failure costs what would be there after a restart, and nothing now.
    pub fn write(&self, known: &DetailedTask) {
        let Some(directory) = &self.directory else { return };
        let written = || -> io::Result<()> {
            let mut file = NamedTempFile::new_in(directory)?;
            file.write_all(&serde_json::to_vec(known)?)?;
            file.persist(path_of(directory, &known.task.task_id))?;
            Ok(())
        };
        if let Err(error) = written() {
            tracing::warn!(%error, "task cannot be kept");
        }
    }

    pub fn remove(&self, id: &str) {
        if let Some(directory) = &self.directory {
            let _ = fs::remove_file(path_of(directory, id));
        }
    }
}

fn path_of(directory: &Path, id: &str) -> PathBuf {
    directory.join(id).with_extension(SUFFIX)
}

fn read(path: &Path) -> Option<DetailedTask> {
    let is_record = path.extension().is_some_and(|extension| extension == SUFFIX);
    if !is_record || fs::symlink_metadata(path).ok()?.len() > MAX_BYTES {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
