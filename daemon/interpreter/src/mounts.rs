//! Host folders that programs may read, as the user names them.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Paths of the root that no mount may cover, nor anything below them.
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
                return Err(format!("{} is not an absolute path", path.display()));
            }
        }
        if target == Path::new("/") || TAKEN.iter().any(|taken| target.starts_with(taken)) {
            return Err(format!("{} is taken in a program's root: choose another target, as /data", target.display()));
        }
        Ok(Mount { source, target })
    }
}
