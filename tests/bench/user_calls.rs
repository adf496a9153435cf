//! Calls as a user feels them: from the client through the real shim and daemon to the embedded interpreter and back, each beside what
//! plain Python takes.

mod idle;
mod many_clients;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::mcp::{Client, Daemon, SHIM, Script, command};
use crate::processes::{memory_kb, tree};
use crate::python::Bare;
use crate::report::{Bounds, Report, at_most};
use crate::rounds::{Rounds, interleave, interleave_turns};
use crate::user::as_user;
use crate::venv;

/// Between two calls of somebody who works.
const APART: Duration = Duration::from_millis(100);
/// In a row, without a pause.
const TURN: usize = 10;
/// After this, as many children wait as will.
const WARM: Duration = Duration::from_secs(1);
const FIRST_CALLS: usize = 5;

const HEAVY: (&str, Bounds) = ("call_heavy_p50_ratio", at_most(0.30, 0.15));
const HELLO: &str = "print(1)";
const IMPORTS: &str = "import collections, csv, dataclasses, datetime, decimal, json, pathlib, random, re, statistics";
const PRINTS: &str = "for number in range(300_000): print(number)";

/// How much of everything.
pub struct Effort {
    pub calls: Rounds,
    pub slow_calls: Rounds,
    /// Each after the pause of somebody who reads.
    pub calls_after_idle: Rounds,
    pub idle: Duration,
    pub slices: usize,
    pub slice: Duration,
    /// So few that p99 means nothing.
    pub is_quick: bool,
}

pub fn measure(program: &Path, effort: &Effort, report: &mut Report) -> Result<()> {
    let bare = Bare::new(Path::new("/usr/bin/python3"));
    eprintln!("first calls …");
    measure_first_calls(program, report)?;
    let daemon = as_user(|| Daemon::start(program, "user", &[]))?;
    let mut client = as_user(|| Client::connect(&mut daemon.shim()))?;
    measure_apart(&mut client, &bare, effort, report)?;
    // Before calls in a row, after which more than two children wait for a minute.
    measure_memory(&daemon, &client, report)?;
    measure_light(&mut client, &bare, effort, report)?;
    idle::measure_processor_time(&daemon, &client, effort.idle, report)?;
    idle::measure_calls(&mut client, &bare, effort.calls_after_idle, report)?;
    many_clients::measure(&daemon, &bare, effort, report)?;
    drop(client);
    as_user(|| stop(program, daemon.home()))?;
    match venv::python() {
        Ok(python) => measure_heavy(program, &python, effort, report),
        Err(reason) => {
            report.add(HEAVY.0, None, HEAVY.1, format!("no environment with packages: {reason}"), json!({}));
            Ok(())
        }
    }
}

fn measure_apart(client: &mut Client, bare: &Bare, effort: &Effort, report: &mut Report) -> Result<()> {
    let hello = Script::new(HELLO, Some("1\n"));
    eprintln!("a user's calls, some time apart …");
    let [calls, plain] = as_user(|| {
        warm_up(client, &hello)?;
        interleave(effort.calls, [&mut || apart(client, &hello), &mut || bare.spawn()])
    })?;
    report.ratio("call_p50_ratio", 0.50, &calls, &plain, at_most(0.17, 0.12));
    if !effort.is_quick {
        report.ratio("call_p99_ratio", 0.99, &calls, &plain, at_most(0.50, 0.30));
    }
    Ok(())
}

fn measure_light(client: &mut Client, bare: &Bare, effort: &Effort, report: &mut Report) -> Result<()> {
    let (hello, imports, prints) =
        (Script::new(HELLO, Some("1\n")), Script::new(IMPORTS, Some("")), Script::new(PRINTS, None));
    eprintln!("a user's calls, one after the other …");
    let rounds = Rounds { most: effort.calls.most / TURN, ..effort.calls };
    let [calls, plain] =
        as_user(|| interleave_turns(rounds, TURN, [&mut || client.run(&hello), &mut || bare.spawn()]))?;
    report.ratio("call_busy_p50_ratio", 0.50, &calls, &plain, at_most(0.15, 0.10));
    eprintln!("a user's calls that import ten modules …");
    let [calls, plain] =
        as_user(|| interleave(effort.slow_calls, [&mut || apart(client, &imports), &mut || bare.spawn()]))?;
    report.ratio("call_imports_p50_ratio", 0.50, &calls, &plain, at_most(0.20, 0.15));
    eprintln!("calls that print much …");
    let rounds = Rounds { most: effort.slow_calls.most / 5, ..effort.slow_calls };
    let [calls, plain] = as_user(|| interleave(rounds, [&mut || client.run(&prints), &mut || bare.output(PRINTS)]))?;
    report.ratio("print_ratio", 0.50, &calls, &plain, at_most(4.0, 2.0));
    Ok(())
}

fn measure_heavy(program: &Path, python: &Path, effort: &Effort, report: &mut Report) -> Result<()> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is no text");
    let python = text(python)?;
    let settings = [
        ("PYTHON_INTERPRETER_MCP_PYTHON", python.as_str()),
        ("PYTHON_INTERPRETER_MCP_PRELOAD", "numpy,pandas,matplotlib.pyplot"),
    ];
    let source = "import numpy, pandas, matplotlib.pyplot\nprint(int(numpy.arange(1000).sum()))";
    let heavy = Script::new(source, Some("499500\n"));
    let bare = Bare::new(Path::new(&python));
    eprintln!("a user's calls with much loaded ahead …");
    let daemon = as_user(|| Daemon::start(program, "user-heavy", &settings))?;
    let [calls, plain] = as_user(|| {
        let mut client = Client::connect(&mut daemon.shim())?;
        warm_up(&mut client, &heavy)?;
        interleave(effort.slow_calls, [&mut || apart(&mut client, &heavy), &mut || bare.spawn()])
    })?;
    report.ratio(HEAVY.0, 0.50, &calls, &plain, HEAVY.1);
    as_user(|| stop(program, daemon.home()))
}

/// Nothing runs when the client launches the shim.
fn measure_first_calls(program: &Path, report: &mut Report) -> Result<()> {
    let hello = Script::new(HELLO, Some("1\n"));
    let mut times = as_user(|| {
        let mut times = Vec::new();
        for number in 0..FIRST_CALLS {
            let home = program.with_file_name(format!("first-{number}"));
            DirBuilder::new().mode(0o700).create(&home)?;
            let mut shim = command(&program.with_file_name(SHIM), &home);
            shim.env("PYTHON_INTERPRETER_MCPD", program);
            let started = Instant::now();
            let mut client = Client::connect(&mut shim)?;
            client.run(&hello)?;
            times.push(1000.0 * started.elapsed().as_secs_f64());
            drop(client);
            stop(program, &home)?;
        }
        Ok(times)
    })?;
    times.sort_unstable_by(f64::total_cmp);
    let median = times[FIRST_CALLS / 2];
    let detail = format!("median of {FIRST_CALLS}, {:.0} to {:.0} ms", times[0], times[FIRST_CALLS - 1]);
    report.tell("first_call_ms", Some(median), detail, json!({ "times_ms": times }));
    Ok(())
}

/// Everything that serves one idle client.
fn measure_memory(daemon: &Daemon, client: &Client, report: &mut Report) -> Result<()> {
    thread::sleep(WARM);
    let processes = serving(daemon, client)?;
    let sizes = processes.iter().map(|process| memory_kb(*process, &["Pss:"])).collect::<Result<Vec<_>>>();
    let (total, detail) = match &sizes {
        Ok(sizes) => {
            let detail = format!("{} processes, before calls in a row, after which more children wait", sizes.len());
            (Some(sizes.iter().sum::<u64>() as f64), detail)
        }
        Err(error) => (None, format!("only root can read it: {error:#}")),
    };
    let figures = json!({ "sizes_kb": sizes.unwrap_or_default() });
    report.add("memory_total_kb", total, at_most(34_000.0, 28_000.0), detail, figures);
    Ok(())
}

fn apart(client: &mut Client, script: &Script) -> Result<Duration> {
    thread::sleep(APART);
    client.run(script)
}

fn warm_up(client: &mut Client, script: &Script) -> Result<()> {
    for _ in 0..5 {
        apart(client, script)?;
    }
    thread::sleep(WARM);
    Ok(())
}

/// The shim, the daemon, and the interpreter with everything below it.
fn serving(daemon: &Daemon, client: &Client) -> Result<Vec<u32>> {
    let interpreter = interpreter_below(daemon.home()).context("the embedded interpreter does not run")?;
    let mut processes = vec![client.id(), daemon.id()];
    processes.extend(tree(interpreter)?.iter().map(|process| process.id));
    Ok(processes)
}

/// The interpreter that a daemon with this home has started.
fn interpreter_below(home: &Path) -> Option<u32> {
    let variable = format!("XDG_RUNTIME_DIR={}", home.display());
    let is_it = |id: &u32| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
        read("cmdline").split('\0').nth(1) == Some("interpreter")
            && read("environ").split('\0').any(|it| it == variable)
    };
    fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(is_it)
}

fn stop(program: &Path, home: &Path) -> Result<()> {
    let stopped = command(program, home).arg("stop").output()?;
    ensure!(stopped.status.success(), "it cannot be stopped: {}", String::from_utf8_lossy(&stopped.stderr));
    Ok(())
}
