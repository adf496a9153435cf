//! How Python is started in a slot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::runner;
use crate::sandbox::HOME;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    pub executable: PathBuf,
    /// The whole environment of a program: name → value.
    pub environment: BTreeMap<String, String>,
    /// Modules imported before a program starts.
    pub preload: Vec<String>,
    /// Modules imported in addition, after a trial. `None` if the interpreter does not learn any.
    pub learned: Option<Learned>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    pub names: Vec<String>,
    /// By how many KiB they may enlarge the zygote.
    pub room: u64,
}

/// The whole environment of a program. Nothing of the host's environment is passed on.
pub fn environment(python_directory: &Path) -> BTreeMap<String, String> {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", python_directory.display());
    [
        ("PATH", path.as_str()),
        // Not the workspace: libraries cache in HOME, and their caches would be returned as the program's files.
        ("HOME", HOME),
        ("USER", "user"),
        ("LOGNAME", "user"),
        ("LANG", "C.UTF-8"),
        // Output printed before a program is stopped must not be lost in Python's buffers.
        ("PYTHONUNBUFFERED", "1"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        // Draws without a display, and saves what `show` is asked to show.
        ("MPLBACKEND", "module://matplotlib_to_file"),
        ("PYTHONPATH", runner::SITE),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
