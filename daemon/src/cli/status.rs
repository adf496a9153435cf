//! `status`: shows what the daemon does now, as text or JSON.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::bail;
use python_interpreter_mcp::endpoint::{self, Socket};

use super::running::ask;
use super::terminal::{Paint, number, printable, span, table};
use crate::interpreter::Capabilities;
use crate::status::{Status, now};

const EVERY: Duration = Duration::from_secs(1);
/// The exit code of `systemctl status` for a unit that does not run.
const NOT_RUNNING: u8 = 3;
/// Most left-out modules that are named; `preload list` names all.
const MOST_NAMED: usize = 5;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Print the status as JSON
    #[arg(long)]
    json: bool,

    /// Show the status anew every second, until interrupted
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.watch && !io::stdout().is_terminal() {
        bail!("--watch draws on a terminal, and standard output is none: leave it out, or use --json");
    }
    loop {
        let status = ask::<Status>("/status")?;
        let text = match (&status, arguments.json) {
            (Some(status), true) => serde_json::to_string_pretty(status)? + "\n",
            (None, true) => "null\n".to_owned(),
            (Some(status), false) => shown(status, Paint::of_stdout())?,
            (None, false) => "No daemon runs; the next client starts it.\n".to_owned(),
        };
        // Moves to the top left corner and clears the rest.
        let text = if arguments.watch { format!("\x1b[H\x1b[J{text}") } else { text };
        let written = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
        if !arguments.watch || written.is_err() {
            return Ok(if status.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) });
        }
        thread::sleep(EVERY);
    }
}

fn shown(status: &Status, paint: Paint) -> anyhow::Result<String> {
    let now = now();
    let ago = |then: u64| span(now.saturating_sub(then));
    let Status { version, process, started_by, since, interpreter, .. } = status;
    let mut lines = vec![
        ("daemon", format!("{version}, process {process}, for {}, started by {started_by}", ago(*since))),
        ("socket", endpoint::socket_path(Socket::Mcp)?.display().to_string()),
        ("interpreter", format!("{}: {}", interpreter.name, interpreter.why)),
    ];
    lines.extend(interpreter.embedded.iter().flat_map(embedded));
    let Status { running, waiting, tasks, executions, .. } = status;
    let executions = number(*executions);
    lines.push(("calls", format!("{running} running, {waiting} waiting, {tasks} tasks; {executions} have ended")));
    if let Some(latency) = &status.latency {
        let (p50, p99) = (latency.p50_milliseconds, latency.p99_milliseconds);
        lines.push(("latency", format!("p50 {p50:.1} ms, p99 {p99:.1} ms of the last {}", latency.executions)));
    }
    let mut text: String = lines
        .iter()
        .map(|(name, value)| format!("{}  {}\n", paint.bold(&format!("{name:<11}")), printable(value)))
        .collect();
    if !status.clients.is_empty() {
        let rows = status
            .clients
            .iter()
            .map(|client| vec![client.name.clone(), client.version.clone(), ago(client.since), number(client.calls)]);
        text += "\n";
        text += &table(paint, &["CLIENT", "VERSION", "FOR", "CALLS"], &rows.collect::<Vec<_>>());
    }
    if !status.recent.is_empty() {
        let rows = status.recent.iter().map(|ended| {
            let exit_code = ended.exit_code.to_string();
            let (took, at) = (format!("{} ms", number(ended.milliseconds)), format!("{} ago", ago(ended.at)));
            vec![ended.execution_id.clone(), ended.client.clone(), at, ended.outcome.clone(), exit_code, took]
        });
        text += "\n";
        text += &table(paint, &["EXECUTION", "CLIENT", "ENDED", "OUTCOME", "EXIT", "TOOK"], &rows.collect::<Vec<_>>());
    }
    Ok(text)
}

fn embedded(interpreter: &Capabilities) -> Vec<(&'static str, String)> {
    let Capabilities { python, network, preloaded, learned, left_out, slots, .. } = interpreter;
    let Capabilities { memory_limit, memory_limit_because, .. } = interpreter;
    let modules = preloaded.len();
    let named = left_out.iter().take(MOST_NAMED).map(|(module, reason)| format!("{module} ({reason})"));
    let more = left_out.len().checked_sub(MOST_NAMED + 1).map(|more| format!("{} more", more + 1));
    let left_out = named.chain(more).collect::<Vec<_>>().join("; ");
    let memory = format!("limit: {memory_limit} ({memory_limit_because})");
    let lines = [
        ("", format!("Python {python}, network {network}, {modules} modules ahead")),
        ("learned", learned.join(", ")),
        ("left out", left_out),
        ("memory", if memory_limit.is_empty() { "".to_owned() } else { memory }),
        ("slots", format!("{} in use, {} waiting, {} being built", slots.in_use, slots.waiting, slots.building)),
    ];
    // An older interpreter may not say it.
    lines.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}
