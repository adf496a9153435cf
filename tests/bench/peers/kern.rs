//! kern-mcp: an MCP server in Python in front of kern, a sandbox in Rust that takes a root file system from an image. Each call has a box of
//! its own, the next of which waits already.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::driver::step;
use super::interface::{Candidate, Client, Isolation, Peer, Place};
use super::mcp_server::{McpClient, Tool};
use super::software::{BASE, from_pypi, run};
use crate::mcp::command;

const PACKAGE: &str = "kern-sandbox==0.2.49";
/// Its own image is in a registry of images. This one has the same Python and packages as everybody's.
const IMAGE: &str = "bench-python:1";
const IMAGE_FILE: &str = "image.tar";
const MAKE_IMAGE: &str = include_str!("kern_image.py");
const TOOL: Tool = Tool { name: "run_code", argument: "code", failure: None };

pub const KERN: Candidate = Candidate {
    name: "kern-mcp 0.2.49",
    isolation: Isolation::Full,
    is_cpython: true,
    install: |place| {
        let folder = install(&place.python)?;
        Ok(Box::new(|place| Ok(Box::new(Kern::start(folder, place)?))))
    },
};

struct Kern {
    folder: PathBuf,
    home: PathBuf,
}

fn install(python: &Path) -> Result<PathBuf> {
    from_pypi("kern", &[PACKAGE], &format!("{} {MAKE_IMAGE}", python.display()), |place, log| {
        let make = ["-c", MAKE_IMAGE].map(AsRef::<Path>::as_ref);
        run(Command::new(BASE).args(make).arg(python).arg(IMAGE).arg(place.join(IMAGE_FILE)), log)
    })
}

impl Kern {
    fn start(folder: PathBuf, place: &Place) -> Result<Self> {
        let home = place.home("kern")?;
        step(command(&folder.join("bin/kern"), &home).args(["load", "-i"]).arg(folder.join(IMAGE_FILE)))?;
        Ok(Kern { folder, home })
    }
}

impl Peer for Kern {
    fn connect(&self) -> Result<Box<dyn Client>> {
        let mut server = command(&self.folder.join("bin/python"), &self.home);
        server.args(["-m", "kern_sandbox.mcp"]).current_dir(&self.home).stderr(Stdio::null());
        server.env("KERN_BIN", self.folder.join("bin/kern")).env("KERN_MCP_IMAGE", IMAGE);
        Ok(Box::new(McpClient::connect(&mut server, TOOL)?))
    }
}
