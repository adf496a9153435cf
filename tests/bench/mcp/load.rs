//! Calls a second with as many in flight as one client may have, against the plain server of rmcp: the median of pairs of short
//! slices of time.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::client::Client;
use super::daemon::{Daemon, command};
use super::stub::Stub;
use super::{BENCH, Effort};
use crate::report::Report;
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
    let (rates, [shim, daemon, plain]) = as_user(|| {
        let bench = program.with_file_name(BENCH);
        let home = program.with_file_name("rmcp");
        let mut theirs = Client::connect(command(&bench, &home).arg("--rmcp-server").arg(stub.url()))?;
        let processes = [shim, daemon, theirs.id()];
        let (mut rates, mut calls) = (Vec::new(), [0; 2]);
        let mut before = [Duration::ZERO; 3];
        // The first slice of each opens the connections, and does not count.
        for slice in 0..=effort.slices {
            if slice == 1 {
                before = processor_times(processes)?;
            }
            let mut pair = [0.0; 2];
            // Each comes first as often.
            for who in if slice % 2 == 0 { [0, 1] } else { [1, 0] } {
                let client = if who == 0 { &mut *ours } else { &mut theirs };
                let (answered, time) = client.calls_in_flight(IN_FLIGHT, effort.slice)?;
                pair[who] = answered as f64 / time.as_secs_f64();
                calls[who] += if slice > 0 { answered } else { 0 };
            }
            if slice > 0 {
                rates.push(pair);
            }
        }
        let after = processor_times(processes)?;
        let each =
            |process: usize, who: usize| 1e6 * (after[process] - before[process]).as_secs_f64() / calls[who] as f64;
        Ok((rates, [each(0, 0), each(1, 0), each(2, 1)]))
    })?;
    // Of pairs, because the machine's speed changes from one to the next.
    let ratio = median(rates.iter().map(|[ours, theirs]| ours / theirs));
    let [ours, theirs] = [0, 1].map(|who| median(rates.iter().map(|pair| pair[who])));
    let detail = format!(
        "{ours:.0}/s ÷ {theirs:.0}/s of a plain rmcp server in one process; of processors a call takes {shim:.1} µs in the shim and \
         {daemon:.1} in the daemon, {plain:.1} in the other"
    );
    let figures = json!({
        "calls_per_second": ours, "rmcp_calls_per_second": theirs, "in_flight": IN_FLIGHT,
        "shim_processor_us": shim, "daemon_processor_us": daemon, "rmcp_processor_us": plain,
    });
    report.tell("calls_per_s_32_ratio", Some(ratio), detail, figures);
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn processor_times(processes: [u32; 3]) -> Result<[Duration; 3]> {
    let mut times = [Duration::ZERO; 3];
    for (process, time) in processes.iter().zip(&mut times) {
        *time = processor_time(*process)?;
    }
    Ok(times)
}

/// What a process has had of the processors so far, in user and kernel mode.
fn processor_time(process: u32) -> Result<Duration> {
    let status = std::fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let nanoseconds = status.split_whitespace().next().context("there is no time")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
