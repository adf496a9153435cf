//! Calls one at a time: what the shim and the daemon add to the floor, and how far a server of FastMCP is from them.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::client::Client;
use super::fastmcp;
use super::floors::{Http, Pipe, Socket};
use super::stub::Stub;
use crate::report::{Bounds, Report, at_least, at_most};
use crate::rounds::{Rounds, interleave_turns};
use crate::user::as_user;

/// In a row, so that most find the processors awake, as they do in a program that calls often.
const TURN: usize = 50;
const SLOW_TURN: usize = 10;
const FASTMCP: (&str, Bounds) = ("tool_vs_fastmcp_ratio", at_least(100.0, 100.0));

pub fn measure(ours: &mut Client, stub: &Stub, rounds: Rounds, report: &mut Report) -> Result<()> {
    let [calls, pipe, socket, http] = as_user(|| {
        let (mut pipe, mut socket, mut http) = (Pipe::open()?, Socket::open()?, Http::open(stub)?);
        interleave_turns(
            rounds,
            TURN,
            [&mut || ours.call(), &mut || pipe.round_trip(), &mut || socket.round_trip(), &mut || http.round_trip()],
        )
    })?;
    let microseconds = |share| [&calls, &pipe, &socket, &http].map(|samples| 1000.0 * samples.quantile(share));
    let [call, pipe, socket, http] = microseconds(0.50);
    let [call_p99, ..] = microseconds(0.99);
    let floor = pipe + socket + http;
    let detail = format!(
        "p50 {call:.0} (p99 {call_p99:.0}) ÷ {floor:.0} µs: pipe {pipe:.0}, socket {socket:.0}, HTTP {http:.0}, {} calls",
        calls.count()
    );
    let figures = json!({
        "p50_us": call, "p99_us": call_p99, "pipe_p50_us": pipe, "socket_p50_us": socket, "http_p50_us": http,
        "calls": calls.count(),
    });
    report.add("tool_p50_ratio", Some(call / floor), at_most(4.0, 2.0), detail, figures);
    Ok(())
}

pub fn measure_fastmcp(
    ours: &mut Client,
    program: &Path,
    stub: &Stub,
    rounds: Rounds,
    report: &mut Report,
) -> Result<()> {
    let python = match fastmcp::python() {
        Ok(python) => python,
        Err(error) => {
            report.add(FASTMCP.0, None, FASTMCP.1, format!("FastMCP cannot be used: {error:#}"), json!({}));
            return Ok(());
        }
    };
    let [slow, fast] = as_user(|| {
        let mut theirs = fastmcp::connect(&python, &program.with_file_name("fastmcp"), stub)?;
        theirs.call()?;
        interleave_turns(rounds, SLOW_TURN, [&mut || theirs.call(), &mut || ours.call()])
    })?;
    report.ratio(FASTMCP.0, 0.50, &slow, &fast, FASTMCP.1);
    Ok(())
}
