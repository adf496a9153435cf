//! Calls a second with as many in flight as one client may have, against the plain server of rmcp, in alternating slices of
//! time.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::client::Client;
use super::daemon::{Daemon, command};
use super::stub::Stub;
use super::{BENCH, Effort};
use crate::report::{Report, at_least};
use crate::user::as_user;

const IN_FLIGHT: u64 = 32;

pub fn measure(
    ours: &mut Client,
    daemon: &Daemon,
    program: &Path,
    stub: &Stub,
    effort: &Effort,
    report: &mut Report,
) -> Result<()> {
    let (shim, daemon) = (ours.id(), daemon.id());
    let [(ours, shim, daemon), (theirs, plain, _)] = as_user(|| {
        let bench = program.with_file_name(BENCH);
        let home = program.with_file_name("rmcp");
        let mut theirs = Client::connect(command(&bench, &home).arg("--rmcp-server").arg(stub.url()))?;
        let mut totals = [(0, Duration::ZERO); 2];
        let processes = [[shim, daemon], [theirs.id(), theirs.id()]];
        let mut before = [[Duration::ZERO; 2]; 2];
        // The first slice of each opens the connections, and does not count.
        for slice in 0..=effort.slices {
            if slice == 1 {
                before = processor_times(processes)?;
            }
            for (client, total) in [&mut *ours, &mut theirs].into_iter().zip(&mut totals) {
                let (calls, time) = client.calls_in_flight(IN_FLIGHT, effort.slice)?;
                if slice > 0 {
                    *total = (total.0 + calls, total.1 + time);
                }
            }
        }
        let after = processor_times(processes)?;
        Ok([0, 1].map(|who| {
            let (calls, time) = totals[who];
            let each = |process: usize| 1e6 * (after[who][process] - before[who][process]).as_secs_f64() / calls as f64;
            (calls as f64 / time.as_secs_f64(), each(0), each(1))
        }))
    })?;
    let detail = format!(
        "{ours:.0}/s ÷ {theirs:.0}/s of a plain rmcp server in one process; of processors a call takes {shim:.1} µs in the shim and \
         {daemon:.1} in the daemon, {plain:.1} in the other"
    );
    let figures = json!({
        "calls_per_second": ours, "rmcp_calls_per_second": theirs, "in_flight": IN_FLIGHT,
        "shim_processor_us": shim, "daemon_processor_us": daemon, "rmcp_processor_us": plain,
    });
    report.add("calls_per_s_32_ratio", Some(ours / theirs), at_least(1.0, 1.0), detail, figures);
    Ok(())
}

fn processor_times(processes: [[u32; 2]; 2]) -> Result<[[Duration; 2]; 2]> {
    let mut times = [[Duration::ZERO; 2]; 2];
    for (processes, times) in processes.iter().zip(&mut times) {
        for (process, time) in processes.iter().zip(times) {
            *time = processor_time(*process)?;
        }
    }
    Ok(times)
}

/// What a process has had of the processors so far, in user and kernel mode.
fn processor_time(process: u32) -> Result<Duration> {
    let status = std::fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let nanoseconds = status.split_whitespace().next().context("there is no time")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
