//! Calls a second with as many in flight as one client may have, against the plain server of rmcp, in alternating slices of
//! time.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::client::Client;
use super::daemon::command;
use super::stub::Stub;
use super::{BENCH, Effort};
use crate::report::{Report, at_least};
use crate::user::as_user;

const IN_FLIGHT: u64 = 32;

pub fn measure(ours: &mut Client, program: &Path, stub: &Stub, effort: &Effort, report: &mut Report) -> Result<()> {
    let [ours, theirs] = as_user(|| {
        let bench = program.with_file_name(BENCH);
        let home = program.with_file_name("rmcp");
        let mut theirs = Client::connect(command(&bench, &home).arg("--rmcp-server").arg(stub.url()))?;
        let mut totals = [(0, Duration::ZERO); 2];
        // The first slice of each opens the connections, and does not count.
        for slice in 0..=effort.slices {
            for (client, total) in [&mut *ours, &mut theirs].into_iter().zip(&mut totals) {
                let (calls, time) = client.calls_in_flight(IN_FLIGHT, effort.slice)?;
                if slice > 0 {
                    *total = (total.0 + calls, total.1 + time);
                }
            }
        }
        Ok(totals.map(|(calls, time)| calls as f64 / time.as_secs_f64()))
    })?;
    let detail = format!("{ours:.0}/s ÷ {theirs:.0}/s of a plain rmcp server in one process");
    let figures = json!({ "calls_per_second": ours, "rmcp_calls_per_second": theirs, "in_flight": IN_FLIGHT });
    report.add("calls_per_s_32_ratio", Some(ours / theirs), at_least(1.0, 1.0), detail, figures);
    Ok(())
}
