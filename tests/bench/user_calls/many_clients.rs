//! Calls a second where each of many clients, with a shim of its own, always has one in flight.

use anyhow::Result;
use serde_json::json;

use super::Effort;
use crate::mcp::{Client, Daemon, Script};
use crate::python::Bare;
use crate::report::Report;
use crate::throughput::{Worker, alternate};
use crate::user::as_user;

const CLIENTS: usize = 64;

pub fn measure(daemon: &Daemon, bare: &Bare, effort: &Effort, report: &mut Report) -> Result<()> {
    let hello = Script::new("print(1)", Some("1\n"));
    eprintln!("calls of {CLIENTS} clients …");
    let [calls, spawns] = as_user(|| {
        let client = |_| {
            let mut client = Client::connect(&mut daemon.shim())?;
            let hello = &hello;
            Ok(Box::new(move || client.run(hello)) as Worker)
        };
        let mut clients = (0..CLIENTS).map(client).collect::<Result<Vec<_>>>()?;
        alternate(&mut clients, bare, effort.slices, effort.slice)
    })?;
    let detail = format!("{calls:.0}/s ÷ {spawns:.0}/s of plain Pythons");
    let figures = json!({ "calls_per_second": calls, "spawns_per_second": spawns, "clients": CLIENTS });
    report.tell("calls_per_s_64_clients_ratio", Some(calls / spawns), detail, figures);
    Ok(())
}
