//! A request on its way to a slot: what of it can be wrong is found here, before anything runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::executor::ExecuteError;
use crate::limits::Limits;
use crate::python::Launch;
use crate::runner;
use crate::wire::{ExecuteRequest, below_workspace};

/// Where the program's own text is, below `/workspace`, unless a file of the call has that name.
const SCRIPT: &str = "script.py";
/// Files of a call.
const MOST_FILES: usize = 1000;
/// All of a call's environment variables together, in bytes: the kernel bounds what exec takes.
const ENVIRONMENT_LIMIT: usize = 128 * 1024;

/// Variables that act only when Python, or a library that may be preloaded, starts: names, beginnings and ends of names.
const START_NAMES: [&str; 6] = ["HOME", "LANG", "LANGUAGE", "PATH", "TMPDIR", "TZ"];
const START_PREFIXES: [&str; 18] = [
    "ASAN_",
    "BLIS_",
    "CUDA_",
    "GLIBC_",
    "GOTO_",
    "KMP_",
    "LC_",
    "LD_",
    "MALLOC_",
    "MKL_",
    "MPL",
    "NUMBA_",
    "NUMEXPR_",
    "OMP_",
    "OPENBLAS_",
    "PYTHON",
    "SSL_",
    "XDG_",
];
const START_SUFFIX: &str = "_NUM_THREADS";

/// A request that can be run.
pub struct Prepared {
    /// What the program's file is called, below `/workspace`.
    pub script: String,
    pub source_code: String,
    env: BTreeMap<String, String>,
    /// (path below `/workspace`, file id)
    pub files: Vec<(PathBuf, String)>,
    /// What the answer's texts may hold together, in characters.
    pub output_characters: Option<usize>,
}

impl Prepared {
    /// A program without anything.
    pub fn of_source(source_code: String) -> Self {
        let script = SCRIPT.to_owned();
        Prepared { script, source_code, env: BTreeMap::new(), files: Vec::new(), output_characters: None }
    }

    /// What the child is told, in the form that `zygote/src/child.rs` reads. Variables that act at the start of Python make it start
    /// another one.
    pub fn job(&self, launch: &Launch) -> Vec<u8> {
        let mut texts = vec![self.script.clone()];
        let starts = self.env.keys().any(|name| acts_at_start(name));
        if starts {
            let mut environment = launch.environment.clone();
            environment.extend(self.env.clone());
            if let Some(theirs) = self.env.get("PYTHONPATH") {
                environment.insert("PYTHONPATH".to_owned(), format!("{theirs}:{}", runner::SITE));
            }
            texts.insert(0, launch.executable.to_string_lossy().into_owned());
            texts.extend(environment.iter().map(|(name, value)| format!("{name}={value}")));
        } else {
            texts.extend(self.env.iter().map(|(name, value)| format!("{name}={value}")));
        }
        let mut job = vec![if starts { b'x' } else { b'r' }];
        texts.iter().for_each(|text| job.extend(text.bytes().chain([0])));
        job
    }
}

fn acts_at_start(name: &str) -> bool {
    START_NAMES.contains(&name)
        || START_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with(START_SUFFIX)
}

/// Checks all that can be checked before anything runs.
pub fn prepare(request: ExecuteRequest) -> Result<Prepared, ExecuteError> {
    let invalid = |text: String| Err(ExecuteError::Invalid(text));
    if request.files.len() > MOST_FILES {
        return invalid(format!("files: at most {MOST_FILES} are possible"));
    }
    // With what separates them on their way.
    let size: usize = request.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if size > ENVIRONMENT_LIMIT {
        return invalid(format!("env: it is {size} bytes long, and the limit is {ENVIRONMENT_LIMIT}"));
    }
    let is_wrong =
        |(name, value): &(&String, &String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    if let Some((name, _)) = request.env.iter().find(is_wrong) {
        return invalid(format!("env: {name:?} is no environment variable"));
    }
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for (path, id) in &request.files {
        let Some(relative) = below_workspace(path) else {
            return invalid(format!("files: {path:?} is no absolute path below /workspace"));
        };
        if files.iter().any(|(other, _)| relative.starts_with(other)) {
            return invalid(format!("files: {path:?} lies below a path that is a file"));
        }
        files.push((relative, id.clone()));
    }
    let script = script_name(&files);
    let ExecuteRequest { source_code, env, output_characters, .. } = request;
    Ok(Prepared { script, source_code, env, files, output_characters })
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

/// `script.py`, or the next name that none of the call's own files has.
fn script_name(files: &[(PathBuf, String)]) -> String {
    std::iter::once(SCRIPT.to_owned())
        .chain((2..).map(|number| format!("script-{number}.py")))
        .find(|name| !files.iter().any(|(file, _)| file.starts_with(name)))
        .unwrap_or_else(|| SCRIPT.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{acts_at_start, script_name};

    #[test]
    fn the_script_makes_way_for_a_file_of_its_name() {
        let files = |names: &[&str]| names.iter().map(|name| (PathBuf::from(name), String::new())).collect::<Vec<_>>();
        assert_eq!(script_name(&files(&["data.csv"])), "script.py");
        assert_eq!(script_name(&files(&["script.py", "script-2.py/x"])), "script-3.py");
    }

    #[test]
    fn what_acts_at_the_start_is_told_apart() {
        for name in ["PYTHONHASHSEED", "OMP_NUM_THREADS", "SOME_NUM_THREADS", "MPLBACKEND", "LC_ALL", "TZ"] {
            assert!(acts_at_start(name), "{name}");
        }
        for name in ["API_KEY", "DEBUG", "LANGCHAIN_KEY", "PY", "TZDATA"] {
            assert!(!acts_at_start(name), "{name}");
        }
    }
}
