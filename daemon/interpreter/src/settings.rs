//! What the interpreter is configured with.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::limits::Limits;
use crate::mounts::Mount;
use crate::sandbox::Network;

/// Settings of an [`Executor`](crate::executor::Executor), fixed for its lifetime.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The Python to run programs with; `None` looks for `python3`.
    pub python: Option<PathBuf>,
    /// Modules imported before a program starts.
    pub preload: Vec<String>,
    /// Whether modules that programs import again and again are preloaded as well.
    pub learns: bool,
    pub limits: Limits,
    /// Host folders that programs may read.
    pub mounts: Vec<Mount>,
    pub network: Network,
    /// Directory for stored files; only its owner may access it.
    pub state_directory: PathBuf,
    /// Directory for the bytecode of packages; `None` keeps none.
    pub bytecode: Option<PathBuf>,
    /// The command that runs [`crate::spawner::run`].
    pub spawner: Vec<OsString>,
    /// Most executions at the same time.
    pub concurrency: usize,
    /// A new workshop replaces the current one after this many executions.
    pub most_slots: u64,
}
