//! pydantic-monty: an interpreter of its own for a part of Python, as a library with worker processes.

use std::path::PathBuf;

use anyhow::Result;

use super::driver::{Driver, script};
use super::interface::{Candidate, Client, Isolation, Peer};
use super::software::from_pypi;

/// The newest of which PyPI has all parts.
const PACKAGE: &str = "pydantic-monty==1.4.0";
const DRIVER: &str = include_str!("monty_driver.py");

pub const MONTY: Candidate = Candidate {
    name: "pydantic-monty 1.4.0",
    isolation: Isolation::Full,
    is_cpython: false,
    install: |_| {
        let folder = from_pypi("monty", &[PACKAGE], "", |_, _| Ok(()))?;
        Ok(Box::new(move |place| {
            let home = place.home("monty")?;
            let script = script(&home, "driver.py", DRIVER)?;
            Ok(Box::new(Monty { python: folder.join("bin/python"), home, script }))
        }))
    },
};

struct Monty {
    python: PathBuf,
    home: PathBuf,
    script: PathBuf,
}

impl Peer for Monty {
    fn connect(&self) -> Result<Box<dyn Client>> {
        Ok(Box::new(Driver::start(&self.python, &self.home, &self.script, &[])?))
    }
}
