//! What this project replaces: a server of FastMCP with an HTTP client for each call, in front of an interpreter service. The service is
//! our interpreter, so that the difference is the way to it.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::driver::script;
use super::interface::{Candidate, Client, Isolation, Peer, Place};
use super::lines::{DEADLINE, Group};
use super::mcp_server::McpClient;
use super::ours::TOOL;
use crate::mcp::{command, fastmcp};

pub const FASTMCP: Candidate = Candidate {
    name: "FastMCP + httpx, our interpreter",
    isolation: Isolation::Full,
    is_cpython: true,
    install: |_| {
        let python = fastmcp::python()?;
        Ok(Box::new(|place| Ok(Box::new(Original::start(python, place)?))))
    },
};

struct Original {
    python: PathBuf,
    home: PathBuf,
    script: PathBuf,
    url: String,
    _interpreter: Group,
}

impl Original {
    fn start(python: PathBuf, place: &Place) -> Result<Self> {
        let home = place.home("fastmcp")?;
        let port = free_port()?;
        let mut interpreter = command(&place.program, &home);
        interpreter.args(["interpreter", "--listen", &format!("127.0.0.1:{port}"), "--python"]).arg(&place.python);
        interpreter.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(home.join("log"))?);
        let interpreter = Group::start(&mut interpreter)?;
        wait_for(port)?;
        let script = script(&home, "server.py", fastmcp::SERVER)?;
        Ok(Original { python, home, script, url: format!("http://127.0.0.1:{port}"), _interpreter: interpreter })
    }
}

impl Peer for Original {
    fn connect(&self) -> Result<Box<dyn Client>> {
        let mut server = command(&self.python, &self.home);
        server.arg(&self.script).arg(&self.url).stderr(Stdio::null());
        Ok(Box::new(McpClient::connect(&mut server, TOOL)?))
    }
}

/// That nobody listens on now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Until somebody listens.
pub fn wait_for(port: u16) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        ensure!(Instant::now() < deadline, "it does not listen on port {port}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
