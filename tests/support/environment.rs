//! A virtual environment of the system's Python with modules of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::interpreter::Interpreter;

pub struct Environment(tempfile::TempDir);

impl Environment {
    /// `modules` are pairs of a name and a text.
    pub fn with(modules: &[(&str, &str)]) -> Self {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let directory = tempfile::tempdir().unwrap();
        // An ordinary user is to look into it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let made =
            Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(directory.path()).status();
        assert!(made.unwrap().success());
        let environment = Environment(directory);
        for (name, text) in modules {
            fs::write(environment.packages().join(format!("{name}.py")), text).unwrap();
        }
        environment
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn python(&self) -> PathBuf {
        self.path().join("bin/python")
    }

    /// Its `site-packages`.
    pub fn packages(&self) -> PathBuf {
        fs::read_dir(self.path().join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages")
    }

    pub fn preloading(&self, modules: &str) -> Interpreter {
        self.start(modules, &[], &[])
    }

    /// An interpreter with further variables and flags.
    pub fn start(&self, preload: &str, variables: &[(&str, &str)], flags: &[&str]) -> Interpreter {
        let python = self.python();
        let own =
            [("PYTHON_INTERPRETER_MCP_PYTHON", python.to_str().unwrap()), ("PYTHON_INTERPRETER_MCP_PRELOAD", preload)];
        Interpreter::start_with_both(&[&own, variables].concat(), flags)
    }
}
