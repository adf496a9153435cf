//! Notices that a client is gone while nothing is read from it. An end of input does not tell: it may still want answers.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

pub struct HangUp {
    socket: Arc<UnixStream>,
    watch: Option<AsyncFd<OwnedFd>>,
}

impl HangUp {
    pub fn new(socket: Arc<UnixStream>) -> Self {
        Self { socket, watch: None }
    }

    /// Returns once both directions are closed by the client.
    pub async fn wait(&mut self) {
        if self.watch.is_none() {
            // A second registration with epoll, because the socket's own also reports the end of input, for good. This
            // one asks for nothing that a Unix socket has; epoll adds the hang-up by itself. It needs its own descriptor.
            let watched = self.socket.as_fd().try_clone_to_owned();
            #[expect(
                deprecated,
                reason = "an OwnedFd is what it is sound for, and what replaces it is an unsafe function"
            )]
            let watch = watched.and_then(|socket| AsyncFd::with_interest(socket, Interest::PRIORITY));
            match watch {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => tracing::warn!(%error, "a hang-up of this client will be noticed late"),
            }
        }
        match &self.watch {
            Some(watch) => drop(watch.ready(Interest::PRIORITY).await),
            None => std::future::pending().await,
        }
    }
}
