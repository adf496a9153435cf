//! Measures the embedded interpreter against bare Python, and the way to an interpreter against the least that it could be,
//! in turn within one run, so that the noise of a shared machine hits both: the figures are ratios. `tests/bench/run` builds and
//! starts it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is the result, and stderr its progress")]

mod user;

mod connection;
mod interpreter;
mod python;

mod rounds;
mod throughput;

mod leak;
mod processes;

mod mcp;
mod user_calls;

mod peers;

mod report;

#[path = "../support/installed.rs"]
mod installed;
#[path = "../support/venv.rs"]
mod venv;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use rustix::fs::Mode;
use serde_json::json;

use crate::connection::Program;
use crate::interpreter::Interpreter;
use crate::python::{Bare, Plot};
use crate::report::{Bounds, Report, at_least, at_most};
use crate::rounds::{Rounds, interleave};
use crate::user::as_user;

const HEAVY: (&str, Bounds) = ("exec_heavy_p50_ratio", at_most(1.0, 0.25));
const PLOT: (&str, Bounds) = ("exec_plot_p50_ratio", at_most(0.15, 0.10));

#[derive(clap::Parser)]
struct Arguments {
    /// Within three minutes instead of seventeen
    #[arg(long)]
    quick: bool,
    /// Exit with 1 if a bound that must hold is missed
    #[arg(long)]
    check: bool,
    /// Measure a part only
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Write every figure to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with others that run Python for a client, and measure nothing else
    #[arg(long, conflicts_with_all = ["only", "check"])]
    peers: bool,
    /// Draw the comparison with others into this directory
    #[arg(long, value_name = "DIRECTORY", requires = "peers")]
    svg: Option<PathBuf>,
    /// Be the server of rmcp that is compared with, in front of this interpreter
    #[arg(long, hide = true, value_name = "URL")]
    rmcp_server: Option<String>,
    /// Be the relay that is compared with, between the standard input and output and this socket
    #[arg(long, hide = true, value_name = "SOCKET")]
    plain_relay: Option<PathBuf>,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The embedded interpreter
    Interpreter,
    /// The way to an interpreter and back
    Mcp,
    /// Calls as a user feels them: the way and the embedded interpreter
    User,
}

/// How much of everything.
struct Effort {
    light: Rounds,
    heavy: Rounds,
    plot: Rounds,
    slices: usize,
    slice: Duration,
    leak: Rounds,
    mcp: mcp::Effort,
    user: user_calls::Effort,
}

impl Effort {
    fn new(quick: bool) -> Self {
        let rounds = |most, seconds| Rounds { most, time: Duration::from_secs(seconds) };
        match quick {
            true => Effort {
                light: rounds(150, 10),
                heavy: rounds(40, 5),
                plot: rounds(6, 5),
                slices: 4,
                slice: Duration::from_millis(500),
                leak: rounds(500, 5),
                mcp: mcp::Effort {
                    starts: rounds(60, 2),
                    calls: rounds(50, 3),
                    slow_calls: rounds(5, 2),
                    slices: 12,
                    slice: Duration::from_millis(200),
                },
                user: user_calls::Effort {
                    calls: rounds(60, 12),
                    slow_calls: rounds(25, 6),
                    calls_after_idle: rounds(3, 40),
                    idle: Duration::from_secs(15),
                    slices: 4,
                    slice: Duration::from_millis(500),
                    is_quick: true,
                },
            },
            false => Effort {
                light: rounds(1000, 80),
                heavy: rounds(300, 45),
                plot: rounds(40, 60),
                slices: 12,
                slice: Duration::from_secs(1),
                leak: rounds(10_000, 100),
                mcp: mcp::Effort {
                    starts: rounds(400, 12),
                    calls: rounds(300, 20),
                    slow_calls: rounds(30, 15),
                    slices: 60,
                    slice: Duration::from_millis(200),
                },
                user: user_calls::Effort {
                    calls: rounds(1000, 180),
                    slow_calls: rounds(200, 45),
                    calls_after_idle: rounds(20, 220),
                    idle: Duration::from_secs(60),
                    slices: 12,
                    slice: Duration::from_secs(1),
                    is_quick: false,
                },
            },
        }
    }
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::parse();
    if let Some(interpreter) = arguments.rmcp_server {
        return mcp::rmcp_server::run(&interpreter).map(|()| ExitCode::SUCCESS);
    }
    if let Some(socket) = arguments.plain_relay {
        return mcp::plain_relay::run(&socket).map(|()| ExitCode::SUCCESS);
    }
    arguments.json = arguments.json.map(std::path::absolute).transpose()?;
    arguments.svg = arguments.svg.map(std::path::absolute).transpose()?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let scratch = tempfile::tempdir()?;
    // What cargo built may lie where the user cannot look.
    let program = scratch.path().join("python-interpreter-mcpd");
    fs::copy(env!("CARGO_BIN_EXE_python-interpreter-mcpd"), &program)?;
    mcp::bring(&program)?;
    chown(scratch.path(), Some(user::id()), Some(user::id()))?;
    std::env::set_current_dir(scratch.path())?;

    if arguments.peers {
        let request = peers::Request { quick: arguments.quick, json: arguments.json, svg: arguments.svg };
        return peers::measure(&program, &request).map(|()| ExitCode::SUCCESS);
    }
    let effort = Effort::new(arguments.quick);
    let mut report = Report::default();
    let wants = |part| arguments.only.is_none_or(|only| only == part);
    let mut measured = Ok(());
    if wants(Part::Interpreter) {
        measured = measure_interpreter(&program, &effort, &mut report);
    }
    if wants(Part::Mcp) {
        measured = measured.and_then(|()| mcp::measure(&program, &effort.mcp, &mut report));
    }
    if wants(Part::User) {
        measured = measured.and_then(|()| user_calls::measure(&program, &effort.user, &mut report));
    }
    report.print();
    measured.inspect_err(|_| interpreter::show_logs(scratch.path()))?;
    if let Some(path) = arguments.json {
        let text = serde_json::to_string_pretty(&report.json(arguments.quick))? + "\n";
        fs::write(&path, text).with_context(|| format!("{path:?} cannot be written"))?;
    }
    Ok(if arguments.check && !report.passed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What Python's own start costs, against the interpreter as it is by default.
fn measure_interpreter(program: &Path, effort: &Effort, report: &mut Report) -> Result<()> {
    measure_light(program, effort, report)?;
    match venv::python() {
        Ok(python) => measure_heavy(program, &python, effort, report),
        Err(reason) => {
            for (name, bounds) in [HEAVY, PLOT] {
                report.add(name, None, bounds, format!("no environment with packages: {reason}"), json!({}));
            }
            Ok(())
        }
    }
}

fn measure_light(program: &Path, effort: &Effort, report: &mut Report) -> Result<()> {
    let pass = Program::new("pass", "");
    let cold = Program::new("pass", "").with_environment(&json!({ "PYTHONHASHSEED": "1" }));
    let bare = Bare::new(Path::new("/usr/bin/python3"));
    let interpreter = as_user(|| Interpreter::start(program, "light", &[]))?;
    interpreter.warm_up(&pass)?;

    eprintln!("executions one at a time …");
    let [pass_times, bare_times, cold_times] = as_user(|| {
        let (mut warm, mut colder) = (interpreter.connect()?, interpreter.connect()?);
        interleave(effort.light, [&mut || warm.execute(&pass), &mut || bare.spawn(), &mut || colder.execute(&cold)])
    })?;
    report.ratio("exec_p50_ratio", 0.50, &pass_times, &bare_times, at_most(0.12, 0.08));
    report.ratio("exec_p99_ratio", 0.99, &pass_times, &bare_times, at_most(0.60, 0.25));
    report.ratio("exec_cold_p50_ratio", 0.50, &cold_times, &bare_times, at_most(1.6, 1.2));

    eprintln!("as many executions as there can be …");
    let rates = as_user(|| throughput::measure(&interpreter, &pass, &bare, effort.slices, effort.slice))?;
    let detail = format!("{:.0}/s with {} connections ÷ {:.0}/s", rates.executions, rates.connections, rates.spawns);
    let figures = json!({
        "executions_per_second": rates.executions, "connections": rates.connections, "spawns_per_second": rates.spawns,
    });
    report.add("exec_throughput_ratio", Some(rates.executions / rates.spawns), at_least(3.0, 4.0), detail, figures);

    eprintln!("memory and leaks …");
    processes::measure_idle(interpreter.id(), report)?;
    drop(interpreter);
    leak::measure(program, effort.leak, report)
}

/// What a program that imports much costs where its modules are loaded ahead, against a Python that loads them.
fn measure_heavy(program: &Path, python: &Path, effort: &Effort, report: &mut Report) -> Result<()> {
    let settings = [
        ("PYTHON_INTERPRETER_MCP_PYTHON", python.as_os_str()),
        ("PYTHON_INTERPRETER_MCP_PRELOAD", "numpy,pandas,matplotlib.pyplot".as_ref()),
    ];
    let imports = "import numpy, pandas, matplotlib.pyplot\nprint(int(numpy.arange(1000).sum()))";
    let (heavy, plotting) = (Program::new(imports, "499500\n"), Program::new(python::PLOT, "").with_file("plot.png"));
    let bare = Bare::new(python);
    let interpreter = as_user(|| Interpreter::start(program, "heavy", &settings))?;
    interpreter.warm_up(&heavy)?;

    eprintln!("executions with much loaded ahead …");
    let [heavy_times, bare_times] = as_user(|| {
        let mut connection = interpreter.connect()?;
        interleave(effort.heavy, [&mut || connection.execute(&heavy), &mut || bare.spawn()])
    })?;
    report.ratio(HEAVY.0, 0.50, &heavy_times, &bare_times, HEAVY.1);

    eprintln!("plots …");
    let [plot_times, plain_times] = as_user(|| {
        let plain = Plot::new(python)?;
        let mut connection = interpreter.connect()?;
        // Both once before they count: the first plot of all looks for fonts.
        plain.spawn()?;
        connection.execute(&plotting)?;
        interleave(effort.plot, [&mut || connection.execute(&plotting), &mut || plain.spawn()])
    })?;
    report.ratio(PLOT.0, 0.50, &plot_times, &plain_times, PLOT.1);
    Ok(())
}
