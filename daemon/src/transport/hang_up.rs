//! Notices that a client is gone while nothing is read from it. An end of input is no sign of that: the client may still want answers.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::Span;

use super::socket::Socket;

pub struct HangUpWatch {
    socket: Arc<Socket>,
    watch: Option<AsyncFd<OwnedFd>>,
}

impl HangUpWatch {
    pub fn new(socket: Arc<Socket>) -> Self {
        Self { socket, watch: None }
    }

    /// Completes when the client has closed both directions. `span` is the session's.
    pub async fn wait(&mut self, span: &Span) {
        if self.watch.is_none() {
            // A registration for reading would report the end of input again and again. Unix sockets have no priority data, so this
            // registration reports only EPOLLHUP, which epoll always adds.
            match self.socket.watch(Interest::PRIORITY) {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => span.in_scope(|| tracing::warn!(%error, "a hang-up of this client will be noticed late")),
            }
        }
        match &self.watch {
            Some(watch) => drop(watch.ready(Interest::PRIORITY).await),
            None => std::future::pending().await,
        }
    }
}
