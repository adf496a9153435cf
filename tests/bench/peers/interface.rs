//! What the measurement sees of a peer: that it takes clients, and that a client runs programs.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::program::Program;

/// What keeps a program from harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// From the machine, and from the programs before it and beside it.
    Full,
    /// From the machine: programs see what earlier ones left.
    FromMachine,
    /// From other programs' memory: what the user may do, it may do.
    FromPrograms,
    Absent,
}

impl Isolation {
    pub fn shown(self) -> &'static str {
        match self {
            Isolation::Full => "isolated",
            Isolation::FromMachine => "from the machine only",
            Isolation::FromPrograms => "from other programs only",
            Isolation::Absent => "not isolated",
        }
    }
}

/// What is known of a peer before it runs.
pub struct Candidate {
    pub name: &'static str,
    pub isolation: Isolation,
    /// It runs the Python of python.org, whatever it was compiled for.
    pub is_cpython: bool,
    /// Brings it to this machine, and returns how it is started, which happens as the user.
    pub install: fn(&Place) -> Result<Starter>,
}

pub type Starter = Box<dyn FnOnce(&Place) -> Result<Box<dyn Peer>> + Send>;

/// It runs, and ends with the value.
pub trait Peer: Send + Sync {
    /// A client of its own, ready for programs.
    fn connect(&self) -> Result<Box<dyn Client>>;

    /// Why so many clients at once are not tried.
    fn refuses(&self, _clients: usize) -> Option<String> {
        None
    }
}

pub trait Client: Send {
    /// From the first byte of the request to the last of the answer, which is checked then.
    fn run(&mut self, program: &Program) -> Result<Duration>;
}

/// Where peers run.
pub struct Place {
    /// The daemon's, with the shim beside it; peers' homes are beside it too.
    pub program: PathBuf,
    /// With numpy, pandas and matplotlib if this machine can have them.
    pub python: PathBuf,
}

impl Place {
    /// A directory of the user's own. To be called as the user.
    pub fn home(&self, name: &str) -> Result<PathBuf> {
        let home = self.program.with_file_name(format!("peer-{name}"));
        DirBuilder::new().mode(0o700).recursive(true).create(&home).with_context(|| format!("{home:?}"))?;
        Ok(home)
    }

    /// The packages of the Python.
    pub fn packages(&self) -> Result<PathBuf> {
        let environment = self.python.ancestors().nth(2).context("a Python without an environment")?;
        let libraries = environment.join("lib");
        let folders = std::fs::read_dir(&libraries).with_context(|| format!("{libraries:?}"))?;
        let found = folders.flatten().map(|folder| folder.path().join("site-packages"));
        found.into_iter().find(|folder| folder.is_dir()).context("an environment without packages")
    }
}

/// A path as text, which is what command lines of Python programs are made of.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{path:?} is no text"))
}
