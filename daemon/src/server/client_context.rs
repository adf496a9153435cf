//! What the server knows of one client.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio_util::sync::CancellationToken;
use tracing::Span;

#[derive(Clone)]
pub struct ClientContext {
    /// Its number, by which turns are shared.
    pub key: u64,
    /// It need not be this user: it has shown the token of HTTP on TCP.
    pub is_over_tcp: bool,
    pub is_named: Arc<AtomicBool>,
    pub is_told_of_changes: Arc<AtomicBool>,
    /// Its tracing span, which gets the client's name.
    pub session: Span,
    pub gone: CancellationToken,
    /// Running calls may finish, and no new ones begin.
    pub draining: CancellationToken,
}

impl ClientContext {
    pub fn new(key: u64, session: Span, gone: CancellationToken, draining: CancellationToken) -> Self {
        Self {
            key,
            is_over_tcp: false,
            is_named: Arc::default(),
            is_told_of_changes: Arc::default(),
            session,
            gone,
            draining,
        }
    }
}
