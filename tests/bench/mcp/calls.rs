//! Calls one at a time: what the shim and the daemon add to the floor, and how far a server of FastMCP is from them.

use std::path::Path;
use std::process;

use anyhow::Result;
use serde_json::{Value, json};

use super::client::Client;
use super::daemon::Daemon;
use super::fastmcp;
use super::floors::{Http, Pipe, Socket};
use super::placement::OneProcessor;
use super::stub::Stub;
use crate::report::{Bounds, Report, at_least};
use crate::rounds::{Rounds, interleave_turns};
use crate::user::as_user;

/// In a row, so that most find the processors awake, as they do in a program that calls often.
const TURN: usize = 50;
const SLOW_TURN: usize = 10;
const FASTMCP: (&str, Bounds) = ("tool_vs_fastmcp_ratio", at_least(100.0, 100.0));

/// Medians in microseconds, but for one.
struct Medians {
    call: f64,
    call_p99: f64,
    pipe: f64,
    socket: f64,
    http: f64,
    calls: usize,
}

impl Medians {
    fn floor(&self) -> f64 {
        self.pipe + self.socket + self.http
    }

    fn ratio(&self) -> f64 {
        self.call / self.floor()
    }

    fn figures(&self) -> Value {
        json!({
            "p50_us": self.call, "p99_us": self.call_p99, "pipe_p50_us": self.pipe, "socket_p50_us": self.socket,
            "http_p50_us": self.http, "calls": self.calls,
        })
    }
}

pub fn measure(ours: &mut Client, daemon: &Daemon, stub: &Stub, rounds: Rounds, report: &mut Report) -> Result<()> {
    let rounds = Rounds { most: rounds.most / 2, time: rounds.time / 2 };
    let spread = with_floors(ours, stub, rounds)?;
    let one_processor = OneProcessor::of(&[process::id(), daemon.id(), ours.id()])?;
    let one = with_floors(ours, stub, rounds)?;
    drop(one_processor);
    let detail = format!(
        "p50 {:.0} (p99 {:.0}) ÷ {:.0} µs: pipe {:.0}, socket {:.0}, HTTP {:.0}, on one processor; as the kernel spreads them: \
         {:.2}, {:.0} ÷ {:.0} µs",
        one.call,
        one.call_p99,
        one.floor(),
        one.pipe,
        one.socket,
        one.http,
        spread.ratio(),
        spread.call,
        spread.floor()
    );
    let figures = json!({ "one_processor": one.figures(), "spread": spread.figures() });
    report.tell("tool_p50_ratio", Some(one.ratio()), detail, figures);
    Ok(())
}

fn with_floors(ours: &mut Client, stub: &Stub, rounds: Rounds) -> Result<Medians> {
    let [calls, pipe, socket, http] = as_user(|| {
        let (mut pipe, mut socket, mut http) = (Pipe::open()?, Socket::open()?, Http::open(stub)?);
        interleave_turns(
            rounds,
            TURN,
            [&mut || ours.call(), &mut || pipe.round_trip(), &mut || socket.round_trip(), &mut || http.round_trip()],
        )
    })?;
    let [call, pipe, socket, http, call_p99] =
        [(&calls, 0.50), (&pipe, 0.50), (&socket, 0.50), (&http, 0.50), (&calls, 0.99)]
            .map(|(samples, share)| 1000.0 * samples.quantile(share));
    Ok(Medians { call, call_p99, pipe, socket, http, calls: calls.count() })
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
