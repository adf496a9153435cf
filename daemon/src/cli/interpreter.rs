//! `interpreter`: the embedded interpreter as a process of its own, on the user's socket or on TCP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use python_interpreter::executor::Executor;
use python_interpreter::http::{self, DRAIN_DEADLINE, Leave, Listener};
use python_interpreter::limits::{Limits, Size};
use python_interpreter::settings::Settings;
use python_interpreter_mcp::endpoint::{self, Socket};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::services::{InterpreterArguments, cannot_start, interpreter_again};
use crate::cli::start_up::{Sighup, start_up};
use crate::listener::{Bound, remove};
use crate::logging::Filter;
use crate::systemd;

pub fn run(arguments: InterpreterArguments) -> anyhow::Result<ExitCode> {
    // Before the first thread: it changes the environment.
    let bound = match arguments.listen {
        Some(_) => None,
        None => Some(Bound::inherit_or_bind(Socket::Interpreter, arguments.background)?),
    };
    // The event loop stays on this thread: the spawner ends with the thread that started it (PR_SET_PDEATHSIG).
    let waiting = bound.as_ref().map(Bound::waiting);
    let served = start_up(&arguments.logging, arguments.background)
        .and_then(|(event_loop, filter)| event_loop.block_on(serve(arguments, bound, &filter)));
    served.inspect_err(|error| {
        let reason = cannot_start(&format!("{error:#}"));
        waiting.into_iter().for_each(|waiting| waiting.turn_away(&reason));
    })
}

async fn serve(arguments: InterpreterArguments, bound: Option<Bound>, filter: &Filter) -> anyhow::Result<ExitCode> {
    let executor = executor(&arguments)?;
    // A service manager keeps the socket, so exiting when idle loses no connection.
    let leaves = arguments.background || bound.as_ref().is_some_and(Bound::is_kept);
    let mut leave =
        Leave { when_idle: leaves.then(|| Duration::from_secs(arguments.idle.idle_exit)), remove_path: None };
    let listener = match (bound, arguments.listen) {
        (Some(bound), _) => {
            let (socket, path) = bound.into_parts();
            leave.remove_path = path.map(|path| Box::new(move || remove(path)) as Box<dyn FnOnce() + Send>);
            let socket = std::os::unix::net::UnixListener::from(socket);
            socket.set_nonblocking(true)?;
            Listener::Unix(UnixListener::from_std(socket)?)
        }
        (None, Some(address)) => listen(address).await?,
        (None, None) => bail!("there is nothing to listen on"),
    };
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be waited for")?;
    let hang_up = Sighup::new();
    let (change, current) = watch::channel(Arc::new(executor));
    let shutdown = async {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => match hang_up.is_end() {
                    true => break,
                    false => reload(&change, filter),
                },
            }
        }
        systemd::stopping(DRAIN_DEADLINE);
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), process = std::process::id(), "interpreter serving");
    systemd::ready();
    tokio::spawn(systemd::watchdog());
    http::run(listener, current, leave, shutdown).await;
    Ok(ExitCode::SUCCESS)
}

fn executor(arguments: &InterpreterArguments) -> anyhow::Result<Executor> {
    // Without a writable home programs still run. Their files are then lost at the end of the session.
    match endpoint::state_directory().map(|directory| Executor::new(settings(arguments, directory))) {
        Some(Ok(executor)) => Ok(executor),
        unusable => {
            let reason =
                unusable.and_then(Result::err).map_or_else(|| "there is none".to_owned(), |error| error.to_string());
            tracing::warn!(reason, "the state directory cannot be used: files are kept next to the socket");
            // That directory is memory, which bytecode would fill.
            let beside = Settings { bytecode: None, ..settings(arguments, endpoint::runtime_directory()?) };
            Executor::new(beside).context("the store of files cannot be opened")
        }
    }
}

pub fn settings(arguments: &InterpreterArguments, state_directory: PathBuf) -> Settings {
    Settings {
        python: arguments.python.clone(),
        preload: arguments.preloaded(),
        learns: arguments.learns(),
        // What the machine has is looked up once.
        limits: Limits {
            timeout: arguments.executions.timeout,
            total_memory: Some(Size(arguments.limits.total_memory())),
            ..arguments.limits.clone()
        },
        mounts: arguments.mount.clone(),
        network: arguments.network.into(),
        spawner: vec!["/proc/self/exe".into(), "spawner".into(), "--log".into(), arguments.logging.log.clone().into()],
        most_slots: arguments.most_slots,
        concurrency: arguments.executions.concurrency(),
        bytecode: Some(state_directory.join("bytecode")),
        state_directory,
    }
}

/// Applies the configuration to later programs. If it is wrong, the reason is logged and the old settings stay.
fn reload(current: &watch::Sender<Arc<Executor>>, filter: &Filter) {
    systemd::reloading();
    match interpreter_again() {
        Ok(arguments) => {
            let state_directory = current.borrow().state_directory().to_owned();
            let executor = Arc::new(current.borrow().renewed(settings(&arguments, state_directory)));
            current.send_replace(executor.clone());
            filter.change(&arguments.logging);
            tracing::info!("the settings were read again");
            // Started now instead of by the next call. If it fails, that call reports why.
            tokio::spawn(async move { executor.workshop().await.map(drop) });
        }
        Err(error) => tracing::error!(error = format!("{error:#}"), "the settings stay as they were"),
    }
    systemd::ready();
}

async fn listen(address: SocketAddr) -> anyhow::Result<Listener> {
    if !address.ip().is_loopback() {
        bail!("{address} can be reached from other machines, which --listen does not serve: use 127.0.0.1 or [::1]");
    }
    let listener = TcpListener::bind(address).await.with_context(|| format!("{address} cannot be listened on"))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    Ok(Listener::Tcp(listener))
}
