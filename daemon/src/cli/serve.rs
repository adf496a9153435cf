//! `serve`: the daemon.

mod reload;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use python_interpreter_mcp::endpoint::{self, Socket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::services::{ServeArguments, cannot_start};
use crate::cli::start_up::{Sighup, start_up};
use crate::http::Tcp;
use crate::listener::{Bound, Listener};
use crate::logging::Filter;
use crate::server::Server;
use crate::sessions::{self, End};
use crate::systemd;

/// How often at most the status line is sent to systemd.
const STATUS_PAUSE: Duration = Duration::from_millis(200);

pub fn run(arguments: ServeArguments) -> anyhow::Result<ExitCode> {
    // Before the first thread: it changes the environment.
    let bound = Bound::inherit_or_bind(Socket::Mcp, arguments.background)?;
    let waiting = bound.waiting();
    let served = start_up(&arguments.settings.logging, arguments.background)
        .and_then(|(event_loop, filter)| event_loop.block_on(serve(arguments, bound, &filter)));
    served.inspect_err(|error| waiting.turn_away(&cannot_start(&format!("{error:#}"))))
}

async fn serve(arguments: ServeArguments, bound: Bound, filter: &Filter) -> anyhow::Result<ExitCode> {
    let ServeArguments { settings, background } = arguments;
    let concurrency = settings.interpreter.concurrency();
    let state = endpoint::state_directory();
    let server =
        Server::new(reload::interpreters(&settings)?, concurrency, &settings.tasks, state, started_by(background));
    let listener = Listener::new(bound)?;
    let tcp = Tcp::bind(&settings.http).await?;
    let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be waited for")?;
    let (change, current) = watch::channel(settings.sessions.clone());
    let shutdown = shutdown(current.clone())?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), process = std::process::id(), "serving");
    systemd::ready();
    tokio::spawn(systemd::watchdog());
    if systemd::is_there() {
        tokio::spawn(tell_status(server.clone()));
    }
    let end = tokio::select! {
        end = sessions::run(listener, tcp, server.clone(), current.clone(), background, shutdown) => end,
        never = reload::when_asked(hangup, settings, &server, &change, filter) => match never {},
    };
    if end == End::Idle {
        tracing::info!(seconds = current.borrow().idle.idle_exit, "leaving: no client was here for a while");
    }
    Ok(ExitCode::SUCCESS)
}

fn started_by(background: bool) -> &'static str {
    match (background, std::env::var_os("NOTIFY_SOCKET")) {
        (true, _) => "a client",
        (false, Some(_)) => "systemd",
        (false, None) => "hand",
    }
}

/// Completes at a signal that ends the daemon.
fn shutdown(settings: watch::Receiver<sessions::Settings>) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let mut closed = signal(SignalKind::hangup()).context("SIGHUP cannot be waited for")?;
    let hang_up = Sighup::new();
    Ok(async move {
        let signal = loop {
            tokio::select! {
                _ = terminate.recv() => break "SIGTERM",
                _ = interrupt.recv() => break "SIGINT",
                _ = closed.recv() => if hang_up.is_end() { break "SIGHUP" },
            }
        };
        tracing::info!(signal, "stopping");
        systemd::stopping(Duration::from_secs(settings.borrow().drain));
    })
}

async fn tell_status(server: Server) {
    let mut told = String::new();
    loop {
        let status = server.status_line().await;
        if status != told {
            systemd::status(&status);
            told = status;
        }
        tokio::time::sleep(STATUS_PAUSE).await;
        server.status_changed().await;
    }
}
