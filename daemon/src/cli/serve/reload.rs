//! Reads the settings again while the daemon runs.

use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::cli::services::{serve_again, serve_without_flags};
use crate::config::Settings;
use crate::interpreter::{self, Interpreters};
use crate::logging::Filter;
use crate::server::Server;
use crate::sessions;
use crate::systemd;

/// The interpreters that these settings name.
pub fn interpreters(settings: &Settings) -> anyhow::Result<Interpreters> {
    let found = serve_without_flags()?;
    let flags = settings.interpreter.flags_beyond(&found.settings.interpreter);
    Ok(interpreter::interpreters(&settings.interpreter, &flags)?)
}

/// Reads the configuration again at each SIGHUP. If it is wrong, the reason is logged and the old settings stay.
pub async fn when_asked(
    mut hangup: Signal,
    mut settings: Settings,
    server: &Server,
    sessions: &watch::Sender<sessions::Settings>,
    filter: &Filter,
) -> std::convert::Infallible {
    loop {
        hangup.recv().await;
        systemd::reloading();
        match reload(&settings, server, sessions, filter).await {
            Ok(changed) => settings = changed,
            Err(error) => tracing::error!(error = format!("{error:#}"), "the settings stay as they were"),
        }
        systemd::ready();
    }
}

async fn reload(
    old: &Settings,
    server: &Server,
    sessions: &watch::Sender<sessions::Settings>,
    filter: &Filter,
) -> anyhow::Result<Settings> {
    let settings = serve_again()?.settings;
    let interpreters = interpreters(&settings)?;
    interpreters.reload().await;
    server.change(interpreters, settings.interpreter.concurrency(), &settings.tasks);
    sessions.send_replace(settings.sessions.clone());
    filter.change(&settings.logging);
    if settings.http != old.http {
        tracing::warn!("the settings of HTTP on TCP hold from the daemon's next start");
    }
    tracing::info!("the settings were read again");
    Ok(settings)
}
