//! Folders of the user's choice, shown to programs read-only, and what programs need to look up names where they have the host's
//! network.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::python::{PythonError, show};
use crate::sandbox::{Bind, Root};

/// Places in the root that a mount must not cover, with everything below.
const TAKEN: [&str; 9] = ["/proc", "/dev", "/sys", "/usr", "/etc", "/tmp", "/workspace", "/python-interpreter", "/nix"];

/// `SOURCE:TARGET`, both absolute; a source may begin with `~/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    pub target: PathBuf,
}

impl FromStr for Mount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (source, target) = text.split_once(':').ok_or("it is not SOURCE:TARGET, as in ~/data:/data")?;
        let source = match (source.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(source),
        };
        let target = PathBuf::from(target);
        for path in [&source, &target] {
            let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
            if !path.is_absolute() || !plain {
                return Err(format!("{} is no absolute path", path.display()));
            }
        }
        if target == Path::new("/") || TAKEN.iter().any(|taken| target.starts_with(taken)) {
            return Err(format!("{} is taken in a program's root: choose another target, as /data", target.display()));
        }
        Ok(Mount { source, target })
    }
}

/// Adds `mounts` to the root. Neither a directory that holds a `private` one nor, but for the home, what lies in one is shown.
pub fn show_mounts(root: &mut Root, mounts: &[Mount], private: &[PathBuf]) -> Result<(), PythonError> {
    for mount in mounts {
        let refused = |reason: String| PythonError::Mount { mount: mount.source.clone(), reason };
        let source = mount.source.canonicalize().map_err(|error| refused(error.to_string()))?;
        if let Some(private) = private.iter().find(|private| private.starts_with(&source)) {
            return Err(refused(format!("it holds {}, which programs must not see", private.display())));
        }
        let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
        let inside = private.iter().find(|private| Some(*private) != home.as_ref() && source.starts_with(private));
        if let Some(private) = inside {
            return Err(refused(format!("it lies in {}, which programs must not see", private.display())));
        }
        root.binds.push(Bind { source, target: mount.target.clone() });
    }
    Ok(())
}

/// The host's own answers to names instead of a slot's.
pub fn show_name_service(root: &mut Root, private: &[PathBuf]) -> Result<(), PythonError> {
    const FILES: [&str; 3] = ["/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"];
    root.files.retain(|(path, _)| !FILES.iter().any(|file| path == Path::new(file)));
    FILES.iter().try_for_each(|file| show(root, Path::new(file), private))
}
