//! Notifies the service manager (sd_notify(3)). Without one nothing happens.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// How much longer than its running calls this process may take to end before the manager kills it.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// Watchdog pings per timeout.
const WATCHDOG_SIGNS: u32 = 4;

pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// `longest` is how long running calls may go on.
pub fn stopping(longest: Duration) {
    let needed = u32::try_from((longest + STOP_MARGIN).as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(needed)]);
}

/// Must be followed by [`ready`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot notify the service manager"),
    }
}

/// Whether there is a service manager.
pub fn is_there() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// The status line of `systemctl status`.
pub fn status(text: &str) {
    notify_in_passing(&NotifyState::Status(text));
}

/// Sends watchdog pings, if the manager asks for them. It must run on the event loop, so that a stuck loop sends none.
pub async fn watchdog() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = interval(patience / WATCHDOG_SIGNS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        notify_in_passing(&NotifyState::Watchdog);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// Sends without blocking. A message that the manager has no room for is lost.
fn notify_in_passing(state: &NotifyState<'_>) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let told = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        match path.as_bytes() {
            // A name that is no file's.
            [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            _ => socket.connect(&path)?,
        }
        socket.send(state.to_string().as_bytes())
    });
    if let Err(error) = told.or_else(|error| if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) })
    {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}
