//! `reload` and `stop`: send a signal to the daemon and to the embedded interpreter, whoever started them.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use python_interpreter_mcp::endpoint::{self, Socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use super::running::{ask, ask_interpreter, is_only_listened_for};
use super::services::{commands, configured, serve_without_flags};
use crate::status::Status;

/// How long a process may take to end beyond its setting `drain`.
const MARGIN: Duration = Duration::from_secs(80);

#[derive(Debug, clap::Args)]
pub struct Reload {}

#[derive(Debug, clap::Args)]
pub struct Stop {}

pub fn reload(Reload {}: &Reload) -> anyhow::Result<ExitCode> {
    // Checked here as well, so that the user reads what is wrong, and not only the log.
    configured(commands())?;
    let Some(health) = ask::<Value>("/healthz")? else {
        bail!("no daemon runs; the next one reads the settings at its start")
    };
    signal(&health, Signal::HUP).context("the daemon could not be signalled")?;
    Ok(ExitCode::SUCCESS)
}

pub fn stop(Stop {}: &Stop) -> anyhow::Result<ExitCode> {
    let mut stopped = false;
    if let Ok(Some(status)) = ask::<Status>("/status")
        && status.running > 0
    {
        let running = status.running;
        let _ = writeln!(io::stderr(), "waiting for {running} running call(s) to end (at most for the setting drain)");
    }
    // Wrong settings are no reason not to stop.
    let drain = serve_without_flags().map_or(0, |arguments| arguments.settings.sessions.drain);
    let deadline = Duration::from_secs(drain) + MARGIN;
    // The daemon first: its running calls need the interpreter.
    for (name, health) in [("daemon", ask::<Value>("/healthz")), ("interpreter", ask_interpreter("/process"))] {
        let Some(health) = health.with_context(|| format!("the {name} cannot be asked"))? else { continue };
        let ended = signal(&health, Signal::TERM).and_then(|process| wait(&process, deadline));
        ended.with_context(|| format!("the {name} cannot be stopped"))?;
        stopped = true;
    }
    // A killed process leaves its socket behind.
    for socket in [Socket::Mcp, Socket::Interpreter] {
        let path = endpoint::socket_path(socket)?;
        // A socket of systemd's is never stale.
        if !is_only_listened_for(socket) && endpoint::remove_stale(&path)? {
            let _ = writeln!(io::stderr(), "removed {}, which a killed process had left behind", path.display());
        }
    }
    if !stopped {
        let _ = writeln!(io::stderr(), "nothing runs");
    }
    Ok(ExitCode::SUCCESS)
}

type Process = rustix::fd::OwnedFd;

fn signal(health: &Value, signal: Signal) -> anyhow::Result<Process> {
    let id = health["process"]
        .as_i64()
        .and_then(|id| Pid::from_raw(id.try_into().ok()?))
        .context("it does not say its process id")?;
    let process = pidfd_open(id, PidfdFlags::empty())?;
    pidfd_send_signal(&process, signal)?;
    Ok(process)
}

fn wait(process: &Process, deadline: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + deadline;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut waits = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut waits, Some(&Timespec::try_from(left)?)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) => bail!("it has not ended within {} s; see `python-interpreter-mcpd logs`", deadline.as_secs()),
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
