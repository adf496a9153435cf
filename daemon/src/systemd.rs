//! What the service manager is told about this process. Without one (no NOTIFY_SOCKET) nothing happens.

use sd_notify::NotifyState;

pub fn ready() {
    notify(NotifyState::Ready);
}

/// What is done about a request to reload has begun; [`ready`] ends it.
pub fn reloading() {
    notify(NotifyState::Reloading);
}

pub fn stopping() {
    notify(NotifyState::Stopping);
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
