//! mcp-run-python: Pyodide, which is CPython for WebAssembly, in Deno. One server has one Pyodide, in which all calls run.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::interface::{Candidate, Client, Isolation, Peer};
use super::mcp_server::{McpClient, Tool};
use super::software::{BASE, from_pypi, run};
use crate::mcp::command;

const PACKAGES: [&str; 2] = ["mcp-run-python==0.0.22", "deno==2.9.8"];
const STAND_INS: &str = include_str!("run_python_stand_ins.py");
const TOOL: Tool = Tool { name: "run_python_code", argument: "python_code", failure: Some("\"status\":\"run-error\"") };
/// A server takes 230 MB.
const MOST_CLIENTS: usize = 8;
/// As it starts itself, but for the network, which programs do not need.
const SERVE: [&str; 5] =
    ["run", "--cached-only", "--allow-read=./node_modules", "--node-modules-dir=auto", "src/main.ts"];

pub const RUN_PYTHON: Candidate = Candidate {
    name: "mcp-run-python 0.0.22",
    isolation: Isolation::FromMachine,
    is_cpython: true,
    install: |_| {
        let folder = install()?;
        Ok(Box::new(|place| Ok(Box::new(RunPython { home: place.home("run-python")?, folder }))))
    },
};

struct RunPython {
    folder: PathBuf,
    home: PathBuf,
}

/// The server's own folder, beside the packages, with what it takes from npm.
fn install() -> Result<PathBuf> {
    from_pypi("run-python", &PACKAGES, STAND_INS, |place, log| {
        let server = place.join("server");
        let find = "import mcp_run_python, pathlib, shutil, sys\n\
                    shutil.copytree(pathlib.Path(mcp_run_python.__file__).parent / 'deno', sys.argv[1])";
        run(Command::new(place.join("bin/python")).args(["-I", "-c", find]).arg(&server), log)?;
        run(Command::new(BASE).args(["-c", STAND_INS]).arg(&server), log)?;
        let bring = ["run", "--allow-net", "--allow-read=./node_modules", "--allow-write=./node_modules"];
        let mut deno = Command::new("env");
        deno.arg(format!("DENO_DIR={}", place.join("deno").display())).arg(place.join("bin/deno"));
        deno.args(bring).args(["--node-modules-dir=auto", "src/main.ts", "noop"]).current_dir(&server);
        run(&deno, log)
    })
}

impl Peer for RunPython {
    fn connect(&self) -> Result<Box<dyn Client>> {
        let mut server = command(&self.folder.join("bin/deno"), &self.home);
        server.args(SERVE).args(["stdio", "--return-mode=json"]).current_dir(self.folder.join("server"));
        server.env("DENO_DIR", self.folder.join("deno")).stderr(Stdio::null());
        Ok(Box::new(McpClient::connect(&mut server, TOOL)?))
    }

    fn refuses(&self, clients: usize) -> Option<String> {
        (clients > MOST_CLIENTS).then(|| format!("{clients} servers of 230 MB each are not tried"))
    }
}
