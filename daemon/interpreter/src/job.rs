//! A job: everything that one execution brings along, on its way into a slot.
//!
//! Text travels in a memfd, so that its length is bounded by the API and not by a socket; files travel as descriptors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

/// Where the program's own text is, below `/workspace`, unless a file of the call has that name.
pub const SCRIPT: &str = "script.py";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What the program's file is called, below `/workspace`.
    pub script: String,
    pub source_code: String,
    /// Environment variables added to a program's own.
    pub env: BTreeMap<String, String>,
    /// Paths below `/workspace`, in the order of the descriptors that come with the job.
    pub files: Vec<PathBuf>,
}

impl Job {
    pub fn write(&self) -> io::Result<OwnedFd> {
        let mut memory = File::from(memfd_create("job", MemfdFlags::CLOEXEC)?);
        memory.write_all(&serde_json::to_vec(self)?)?;
        memory.rewind()?;
        Ok(memory.into())
    }

    pub fn read(descriptor: OwnedFd) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::from(descriptor).read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}
