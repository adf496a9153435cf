//! This project as a client uses it: shim, daemon and embedded interpreter.

use anyhow::Result;

use super::interface::{Candidate, Client, Isolation, Peer, Place, text};
use super::mcp_server::{McpClient, Tool};
use crate::mcp::Daemon;

pub const TOOL: Tool = Tool { name: "execute_python_code", argument: "source_code", failure: None };
const PRELOAD: &str = "numpy,pandas,matplotlib.pyplot";

pub const DEFAULT: Candidate = Candidate {
    name: "python-interpreter-mcp",
    isolation: Isolation::Full,
    is_cpython: true,
    install: |_| Ok(Box::new(|place| Ok(Box::new(Ours(start(place, "ours", &[])?))))),
};

pub const PRELOADING: Candidate = Candidate {
    name: "python-interpreter-mcp, packages preloaded",
    isolation: Isolation::Full,
    is_cpython: true,
    install: |_| {
        Ok(Box::new(|place| {
            let settings = [("PYTHON_INTERPRETER_MCP_PRELOAD", PRELOAD)];
            Ok(Box::new(Ours(start(place, "ours-preloading", &settings)?)))
        }))
    },
};

struct Ours(Daemon);

/// To be called as the user.
pub fn start(place: &Place, name: &str, settings: &[(&str, &str)]) -> Result<Daemon> {
    let python = [("PYTHON_INTERPRETER_MCP_PYTHON", text(&place.python)?)];
    Daemon::start(&place.program, name, &[&python, settings].concat())
}

impl Peer for Ours {
    fn connect(&self) -> Result<Box<dyn Client>> {
        Ok(Box::new(McpClient::connect(&mut self.0.shim(), TOOL)?))
    }
}
