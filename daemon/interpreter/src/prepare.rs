//! A request on its way to a slot: what of it can be wrong is found here, before anything runs.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::channel::DESCRIPTOR_LIMIT;
use crate::executor::ExecuteError;
use crate::files::sha256;
use crate::job::{Job, SCRIPT};
use crate::limits::Limits;
use crate::wire::ExecuteRequest;

pub const WORKSPACE: &str = "/workspace/";
/// All of a call's environment variables together, in bytes: the kernel bounds what exec takes.
const ENVIRONMENT_LIMIT: usize = 128 * 1024;

/// What a slot will be handed.
pub struct Prepared {
    pub job: Job,
    /// Everything that is in the workspace before the program runs: absolute path → file id.
    pub known: BTreeMap<String, String>,
}

/// Checks all that can be checked before anything runs.
pub fn prepare(request: ExecuteRequest) -> Result<Prepared, ExecuteError> {
    let invalid = |text: String| Err(ExecuteError::Invalid(text));
    if request.files.len() >= DESCRIPTOR_LIMIT {
        return invalid(format!("files: at most {} are possible", DESCRIPTOR_LIMIT - 1));
    }
    let size: usize = request.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > ENVIRONMENT_LIMIT {
        return invalid(format!("env: it is {size} bytes long, and the limit is {ENVIRONMENT_LIMIT}"));
    }
    let is_wrong =
        |(name, value): &(&String, &String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    if let Some((name, _)) = request.env.iter().find(is_wrong) {
        return invalid(format!("env: {name:?} is no environment variable"));
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for path in request.files.keys() {
        let Some(relative) = below_workspace(path) else {
            return invalid(format!("files: {path:?} is no absolute path below /workspace"));
        };
        if files.iter().any(|other| relative.starts_with(other)) {
            return invalid(format!("files: {path:?} lies below a path that is a file"));
        }
        files.push(relative);
    }
    let source_id =
        sha256(&mut request.source_code.as_bytes()).map_err(|error| ExecuteError::Invalid(error.to_string()))?;
    let script = script_name(&files);
    let mut known = request.files;
    known.insert(format!("{WORKSPACE}{script}"), source_id);
    Ok(Prepared { job: Job { script, source_code: request.source_code, env: request.env, files }, known })
}

pub fn time_limit(request: &ExecuteRequest, limits: &Limits) -> Result<Duration, ExecuteError> {
    match request.timeout_seconds {
        None => Ok(limits.timeout),
        Some(seconds) if seconds > 0.0 => {
            Ok(Duration::try_from_secs_f64(seconds).unwrap_or(limits.timeout).min(limits.timeout))
        }
        Some(seconds) => Err(ExecuteError::Invalid(format!("timeout_seconds: {seconds} is no positive number"))),
    }
}

/// `/workspace/a/b` → `a/b`; `None` for anything else, `..` and empty parts included.
fn below_workspace(path: &str) -> Option<PathBuf> {
    let relative = path.strip_prefix(WORKSPACE)?;
    let plain = !relative.is_empty()
        && !relative.contains('\0')
        && relative.split('/').all(|part| !part.is_empty() && part.len() <= 255)
        && Path::new(relative).components().all(|component| matches!(component, Component::Normal(_)));
    plain.then(|| PathBuf::from(relative))
}

/// `script.py`, or the next name that none of the call's own files has.
fn script_name(files: &[PathBuf]) -> String {
    std::iter::once(SCRIPT.to_owned())
        .chain((2..).map(|number| format!("script-{number}.py")))
        .find(|name| !files.iter().any(|file| file.starts_with(name)))
        .unwrap_or_else(|| SCRIPT.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{below_workspace, script_name};

    #[test]
    fn only_paths_below_the_workspace_are_taken() {
        assert_eq!(below_workspace("/workspace/a/b.csv").as_deref(), Some(Path::new("a/b.csv")));
        let wrong =
            ["/workspace", "/workspace/", "/workspace//a", "/workspace/../a", "/workspace/a/..", "/workspace/./a"];
        for path in wrong.into_iter().chain(["a", "/etc/passwd", "/workspaces/a", "/workspace/a\0b", "/workspace/a/"]) {
            assert_eq!(below_workspace(path), None, "{path:?}");
        }
    }

    #[test]
    fn the_script_makes_way_for_a_file_of_its_name() {
        assert_eq!(script_name(&[PathBuf::from("data.csv")]), "script.py");
        assert_eq!(script_name(&[PathBuf::from("script.py"), PathBuf::from("script-2.py/x")]), "script-3.py");
    }
}
