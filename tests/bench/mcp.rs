//! Measures what the client sees of the way to an interpreter and back: the real shim and daemon in front of a stub, against
//! the floor of what they use, a plain server of rmcp and one of FastMCP.

mod client;
mod daemon;
mod stub;

pub mod fastmcp;
mod floors;
pub mod plain_relay;
pub mod rmcp_server;

mod calls;
mod change;
mod load;
mod memory;
mod placement;
mod relay;
mod start;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::report::Report;
use crate::rounds::Rounds;
use crate::user::as_user;
pub use client::{Client, INITIALIZED, Script, initialize};
pub use daemon::{Daemon, command};
use stub::Stub;

pub const SHIM: &str = "python-interpreter-mcp";
/// This benchmark once more, as the plain server of rmcp or the plain relay.
pub const BENCH: &str = "bench";

/// How much of everything.
pub struct Effort {
    pub starts: Rounds,
    pub calls: Rounds,
    pub slow_calls: Rounds,
    pub slices: usize,
    pub slice: Duration,
}

/// Puts what is measured beside the daemon's `program`.
pub fn bring(program: &Path) -> Result<()> {
    let shim = Path::new(env!("CARGO_BIN_EXE_python-interpreter-mcpd")).with_file_name(SHIM);
    let copied = fs::copy(&shim, program.with_file_name(SHIM));
    copied.with_context(|| format!("{shim:?} cannot be copied; tests/bench/run builds it"))?;
    fs::copy("/proc/self/exe", program.with_file_name(BENCH))?;
    Ok(())
}

pub fn measure(program: &Path, effort: &Effort, report: &mut Report) -> Result<()> {
    let stub = Stub::start()?;
    let daemon = as_user(|| Daemon::start(program, "daemon", &[("PYTHON_INTERPRETER_MCP_URL", &stub.url())]))?;

    eprintln!("memory of the daemon and a shim …");
    memory::measure_daemon(&daemon, report)?;
    let mut ours = as_user(|| Client::connect(&mut daemon.shim()))?;
    // The first call opens what later ones keep.
    ours.call()?;
    memory::measure_shim(&ours, report)?;

    eprintln!("starts of a shim …");
    start::measure(&daemon, effort.starts, report)?;

    eprintln!("calls one at a time …");
    calls::measure(&mut ours, &daemon, &stub, effort.calls, report)?;
    calls::measure_fastmcp(&mut ours, program, &stub, effort.slow_calls, report)?;

    eprintln!("a relay that looks at nothing …");
    relay::measure(&mut ours, &daemon, program, effort.calls, report)?;

    eprintln!("daemons that are started and killed …");
    change::measure(program, &stub, effort.starts, report)?;

    eprintln!("many calls in flight …");
    load::measure(&mut ours, &daemon, program, &stub, effort, report)
}
