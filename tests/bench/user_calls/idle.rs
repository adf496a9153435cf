//! What it costs to wait: the processors' time while nobody calls, and the first call after a pause.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::serving;
use crate::mcp::{Client, Daemon, Script};
use crate::python::Bare;
use crate::report::Report;
use crate::rounds::{Rounds, interleave};
use crate::user::as_user;

/// Between two calls of somebody who reads what the first one said.
const PAUSE: Duration = Duration::from_secs(10);

pub fn measure_calls(client: &mut Client, bare: &Bare, rounds: Rounds, report: &mut Report) -> Result<()> {
    let hello = Script::new("print(1)", Some("1\n"));
    eprintln!("a user's calls after a pause …");
    let [calls, plain] = as_user(|| {
        let after_pause = || {
            thread::sleep(PAUSE);
            client.run(&hello)
        };
        interleave(rounds, [&mut { after_pause }, &mut || bare.spawn()])
    })?;
    report.ratio("call_after_idle_p50_ratio", 0.50, &calls, &plain, None);
    Ok(())
}

/// Of everything that serves one client, in milliseconds a minute.
pub fn measure_processor_time(daemon: &Daemon, client: &Client, time: Duration, report: &mut Report) -> Result<()> {
    eprintln!("a while without a call …");
    let started = Instant::now();
    let before = processor_times(&serving(daemon, client)?)?;
    thread::sleep(time);
    let elapsed = started.elapsed();
    let after = processor_times(&serving(daemon, client)?)?;
    let a_minute = 60_000.0 / elapsed.as_secs_f64();
    let mut used = [0.0; 3];
    for (thread, (process, time)) in &after {
        let earlier = before.get(thread).map_or(Duration::ZERO, |(_, time)| *time);
        let whose = [client.id(), daemon.id()].iter().position(|id| id == process).unwrap_or(2);
        used[whose] += a_minute * time.saturating_sub(earlier).as_secs_f64();
    }
    // A thread that ends meanwhile takes along what it used since the first look.
    let ended = before.keys().filter(|thread| !after.contains_key(thread)).count();
    let [shim, daemon, interpreter] = used;
    let detail = format!(
        "shim {shim:.2}, daemon {daemon:.2}, interpreter and below {interpreter:.2}; in {:.0} s, without {ended} threads that ended",
        elapsed.as_secs_f64()
    );
    let figures = json!({
        "shim": shim, "daemon": daemon, "interpreter": interpreter, "seconds": elapsed.as_secs_f64(), "ended_threads": ended,
    });
    report.tell("cpu_idle_ms_per_minute", Some(used.iter().sum()), detail, figures);
    Ok(())
}

/// Thread → its process, and what it has had of the processors so far, in user and kernel mode.
fn processor_times(processes: &[u32]) -> Result<BTreeMap<u32, (u32, Duration)>> {
    let mut times = BTreeMap::new();
    for process in processes {
        // One that has just ended has no threads.
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            // The process's own account is that of its first thread only.
            let Ok(account) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let thread = thread.file_name().to_str().context("a thread without a number")?.parse()?;
            let nanoseconds = account.split_whitespace().next().context("a thread without a time")?.parse()?;
            times.insert(thread, (*process, Duration::from_nanos(nanoseconds)));
        }
    }
    Ok(times)
}
