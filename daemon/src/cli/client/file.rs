//! A client's configuration file: read as a whole, replaced atomically, with a backup next to it.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

/// The suffix of the backup.
const BACKUP: &str = ".before-python-interpreter";

/// The text, or `None` if there is no such file.
pub fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => {
            Ok(Some(String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", path.display()))?))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// The backup's text, if there is one.
pub fn backup(path: &Path) -> Option<String> {
    read(&backup_of(&fs::canonicalize(path).ok()?)).ok()?
}

/// Writes `text` if the file still holds `before`, and returns the path of the backup.
pub fn replace(path: &Path, before: Option<&str>, text: &str) -> anyhow::Result<Option<PathBuf>> {
    // A symbolic link stays: its target is replaced.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => path.to_owned(),
        Err(error) => {
            return Err(error).with_context(|| format!("{} is a link to nothing: remove it", path.display()));
        }
    };
    if target.starts_with("/nix/store") {
        bail!("{} is made by Nix: change it where your configuration makes it", path.display());
    }
    let directory = target.parent().context("a file is in a directory")?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    let like = fs::metadata(&target).ok();
    let kept = match before {
        Some(before) => Some((written(&target, before, like.as_ref())?, backup_of(&target))),
        None => None,
    };
    let file = written(&target, text, like.as_ref())?;
    // As late as possible, because clients write these files too.
    if read(&target)?.as_deref() != before {
        bail!("{} was changed meanwhile, and is left as it is: try again", path.display());
    }
    let failed = || format!("{} cannot be written", target.display());
    let kept = match kept {
        Some((old, backup)) => {
            old.persist(&backup).with_context(failed)?;
            Some(backup)
        }
        None => None,
    };
    file.persist(&target).with_context(failed)?;
    Ok(kept)
}

/// A synced file with this text in the directory of `path`, ready to be renamed.
fn written(path: &Path, text: &str, like: Option<&Metadata>) -> anyhow::Result<NamedTempFile> {
    let failed = || format!("{} cannot be written", path.display());
    let directory = path.parent().context("a file is in a directory")?;
    let mut file =
        tempfile::Builder::new().prefix(".python-interpreter-").tempfile_in(directory).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    if let Some(like) = like {
        take_after(file.as_file(), like)
            .with_context(|| format!("{} belongs to another user: change it as that user", path.display()))?;
    }
    file.as_file().sync_all().with_context(failed)?;
    Ok(file)
}

/// Copies owner and mode of the file that is replaced.
fn take_after(file: &File, like: &Metadata) -> std::io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))
}

fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BACKUP);
    PathBuf::from(name)
}
