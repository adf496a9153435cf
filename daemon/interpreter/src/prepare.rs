//! Checks a request before anything runs, and turns it into the job that a child is given.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::launch::Launch;
use crate::limits::Limits;
use crate::protocol::Job;
use crate::runner;
use crate::wire::{ExecuteRequest, below_workspace};

/// The program's file below `/workspace`, unless a file of the request has that name.
const SCRIPT: &str = "script.py";
/// Most files of a request.
const MAX_FILES: usize = 1000;
/// Longest environment of a request, in bytes. The kernel limits what exec takes.
const ENVIRONMENT_LIMIT: usize = 128 * 1024;

/// Variables that Python, or a library that may be preloaded, reads only once at its start: names, prefixes and suffixes.
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

/// What is wrong with a request. It names the field.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRequest(pub String);

/// A checked request.
pub struct Prepared {
    /// Name of the program's file below `/workspace`.
    pub script: String,
    pub source_code: String,
    env: BTreeMap<String, String>,
    /// (path below `/workspace`, file id)
    pub files: Vec<(PathBuf, String)>,
    /// Most characters of stdout and stderr together in the answer.
    pub output_characters: Option<usize>,
}

impl Prepared {
    /// A program without files or environment.
    pub fn of_source(source_code: String) -> Self {
        let script = SCRIPT.to_owned();
        Prepared { script, source_code, env: BTreeMap::new(), files: Vec::new(), output_characters: None }
    }

    /// The job for a child. If a variable acts only at Python's start, the child starts a new Python.
    pub fn job(&self, launch: &Launch) -> Vec<u8> {
        let list = |variables: &BTreeMap<String, String>| {
            variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let script = self.script.clone();
        if !self.env.keys().any(|name| acts_at_start(name)) {
            return Job::Run([vec![script], list(&self.env)].concat()).write();
        }
        let mut environment = launch.environment.clone();
        environment.extend(self.env.clone());
        if let Some(theirs) = self.env.get("PYTHONPATH") {
            environment.insert("PYTHONPATH".to_owned(), format!("{theirs}:{}", runner::SITE));
        }
        let executable = launch.executable.to_string_lossy().into_owned();
        Job::Execute([vec![executable, script], list(&environment)].concat()).write()
    }
}

fn acts_at_start(name: &str) -> bool {
    START_NAMES.contains(&name)
        || START_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with(START_SUFFIX)
}

/// Checks a request.
pub fn prepare(request: ExecuteRequest) -> Result<Prepared, InvalidRequest> {
    let invalid = |text: String| Err(InvalidRequest(text));
    if request.files.len() > MAX_FILES {
        return invalid(format!("files: at most {MAX_FILES} are allowed"));
    }
    // Each with its `=` and its NUL.
    let size: usize = request.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if size > ENVIRONMENT_LIMIT {
        return invalid(format!("env: it is {size} bytes long, and the limit is {ENVIRONMENT_LIMIT}"));
    }
    let is_wrong =
        |(name, value): &(&String, &String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    if let Some((name, _)) = request.env.iter().find(is_wrong) {
        return invalid(format!("env: {name:?} is not a valid environment variable"));
    }
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for (path, id) in &request.files {
        let Some(relative) = below_workspace(path) else {
            return invalid(format!("files: {path:?} is not an absolute path below /workspace"));
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

/// The request's time limit, at most that of the settings.
pub fn time_limit(request: &ExecuteRequest, limits: &Limits) -> Result<Duration, InvalidRequest> {
    match request.timeout_seconds {
        None => Ok(limits.timeout),
        Some(seconds) if seconds > 0.0 => {
            Ok(Duration::try_from_secs_f64(seconds).unwrap_or(limits.timeout).min(limits.timeout))
        }
        Some(seconds) => Err(InvalidRequest(format!("timeout_seconds: {seconds} is not a positive number"))),
    }
}

/// `script.py`, or `script-2.py` and so on if a file of the request has that name.
fn script_name(files: &[(PathBuf, String)]) -> String {
    std::iter::once(SCRIPT.to_owned())
        .chain((2..).map(|number| format!("script-{number}.py")))
        .find(|name| !files.iter().any(|(file, _)| file.starts_with(name)))
        .unwrap_or_else(|| SCRIPT.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::{Prepared, acts_at_start, script_name};
    use crate::launch::Launch;
    use crate::protocol::Job;

    #[test]
    fn the_script_makes_way_for_a_file_of_its_name() {
        let files = |names: &[&str]| names.iter().map(|name| (PathBuf::from(name), String::new())).collect::<Vec<_>>();
        assert_eq!(script_name(&files(&["data.csv"])), "script.py");
        assert_eq!(script_name(&files(&["script.py", "script-2.py/x"])), "script-3.py");
    }

    #[test]
    fn a_variable_that_acts_at_the_start_replaces_the_python() {
        let environment = BTreeMap::from([("A".to_owned(), "0".to_owned()), ("B".to_owned(), "2".to_owned())]);
        let launch = Launch { executable: "/python".into(), environment, preload: Vec::new(), learned: None };
        let job = |name: &str| {
            let mut prepared = Prepared::of_source(String::new());
            prepared.env.insert(name.to_owned(), "1".to_owned());
            prepared.job(&launch)
        };
        assert_eq!(Job::read(&job("A")), Some(Job::Run(b"script.py\0A=1\0".as_slice())));
        let expected = b"/python\0script.py\0A=0\0B=2\0TZ=1\0".as_slice();
        assert_eq!(Job::read(&job("TZ")), Some(Job::Execute(expected)));
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
