//! `serve`: the daemon itself.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use python_interpreter_mcp::endpoint::{self, Socket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::start_up::start_up;
use crate::config::Settings;
use crate::interpreter_api::InterpreterApi;
use crate::listener::{Bound, Listener, Tcp};
use crate::server::Server;
use crate::sessions::{self, End};
use crate::systemd;

/// How long what has changed since is gathered before it is told.
const STATUS_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,

    /// Leave the terminal, and end when there are no clients: how a client starts the daemon
    #[arg(long)]
    background: bool,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // First of all, while there is one thread: it changes the environment.
    let bound = Bound::inherit_or_bind(Socket::Mcp, arguments.background)?;
    let waiting = bound.waiting();
    let served = start_up(arguments.background).and_then(|event_loop| event_loop.block_on(serve(arguments, bound)));
    served.inspect_err(|_| waiting.turn_away())
}

async fn serve(arguments: Arguments, bound: Bound) -> anyhow::Result<ExitCode> {
    let Arguments { settings, background } = arguments;
    let api = InterpreterApi::new(&settings.interpreter)?;
    let concurrency = settings.interpreter.concurrency();
    let server = Server::new(api, concurrency, &settings.tasks, endpoint::state_directory());
    let listener = Listener::new(bound)?;
    let tcp = Tcp::bind(&settings.http).await?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let hang_up = signal(SignalKind::hangup()).context("SIGHUP cannot be waited for")?;
    let drain = Duration::from_secs(settings.sessions.drain);
    let shutdown = async {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal, "stopping");
        systemd::stopping(drain);
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), process = std::process::id(), "serving");
    systemd::ready();
    tokio::spawn(reload(hang_up));
    tokio::spawn(systemd::watchdog());
    if systemd::is_there() {
        tokio::spawn(tell_status(server.clone()));
    }
    if sessions::run(listener, tcp, server, &settings.sessions, background, shutdown).await == End::Idle {
        tracing::info!(seconds = settings.sessions.idle_exit, "leaving: no client was here for a while");
    }
    Ok(ExitCode::SUCCESS)
}

/// What SIGHUP asks for.
async fn reload(mut hang_up: Signal) {
    while hang_up.recv().await.is_some() {
        systemd::reloading();
        tracing::info!("reloaded");
        systemd::ready();
    }
}

async fn tell_status(server: Server) {
    let mut told = String::new();
    loop {
        let status = server.status().await;
        if status != told {
            systemd::status(&status);
            told = status;
        }
        tokio::time::sleep(STATUS_PAUSE).await;
        server.status_changed().await;
    }
}
