//! A Jupyter kernel gateway: kernels behind HTTP and a WebSocket. Either each call starts a kernel, or all calls of all clients share one.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Result;

use super::driver::{Driver, script};
use super::fastmcp::{free_port, wait_for};
use super::interface::{Candidate, Client, Isolation, Peer, Place, Starter};
use super::lines::Group;
use super::software::from_pypi;
use crate::mcp::command;

const PACKAGES: [&str; 2] = ["jupyter-kernel-gateway==3.0.1", "ipykernel==7.4.0"];
const DRIVER: &str = include_str!("gateway_driver.py");

pub const KERNEL_A_CALL: Candidate = Candidate {
    name: "kernel gateway 3.0.1, a kernel a call",
    isolation: Isolation::FromPrograms,
    is_cpython: true,
    install: |_| install("call"),
};

pub const SHARED_KERNEL: Candidate = Candidate {
    name: "kernel gateway 3.0.1, a shared kernel",
    isolation: Isolation::Absent,
    is_cpython: true,
    install: |_| install("shared"),
};

struct Gateway {
    python: PathBuf,
    home: PathBuf,
    script: PathBuf,
    port: String,
    kernel: &'static str,
    _server: Group,
}

fn install(kernel: &'static str) -> Result<Starter> {
    let folder = from_pypi("kernel-gateway", &PACKAGES, "", |_, _| Ok(()))?;
    Ok(Box::new(move |place| Ok(Box::new(Gateway::start(folder, kernel, place)?))))
}

impl Gateway {
    fn start(folder: PathBuf, kernel: &'static str, place: &Place) -> Result<Self> {
        let (home, port) = (place.home(&format!("gateway-{kernel}"))?, free_port()?);
        let python = folder.join("bin/python");
        let mut server = command(&python, &home);
        server.args(["-m", "kernel_gateway", "--KernelGatewayApp.ip=127.0.0.1", "--KernelGatewayApp.port_retries=0"]);
        // The first client starts the shared kernel, which the others look for.
        server.arg("--JupyterWebsocketPersonality.list_kernels=True");
        server.arg(format!("--KernelGatewayApp.port={port}")).env("PYTHONPATH", place.packages()?).current_dir(&home);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(home.join("log"))?);
        let server = Group::start(&mut server)?;
        wait_for(port)?;
        let script = script(&home, "driver.py", DRIVER)?;
        Ok(Gateway { python, home, script, port: port.to_string(), kernel, _server: server })
    }
}

impl Peer for Gateway {
    fn connect(&self) -> Result<Box<dyn Client>> {
        Ok(Box::new(Driver::start(&self.python, &self.home, &self.script, &[&self.port, self.kernel])?))
    }
}
