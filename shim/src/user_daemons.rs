//! Relays between this process's standard input and output and the daemons of its user.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    endpoint::{self, EndpointError, Socket},
    relay::{self, Daemons, Ended, Patience, RelayError},
};

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Relay(#[from] RelayError),
}

/// Relays until the client is finished or gone.
pub fn serve() -> Result<(), ServeError> {
    let parent = relay::parent();
    let path = endpoint::socket_path(Socket::Mcp)?;
    let first = reach(&path)?;
    match relay::run(
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        first,
        parent,
        UserDaemons { path },
        Patience::default(),
    )? {
        Ended::ClientFinished | Ended::ClientGone | Ended::ParentGone => Ok(()),
    }
}

/// The daemons that serve this user's socket, one after the other.
struct UserDaemons {
    path: PathBuf,
}

impl Daemons for UserDaemons {
    fn reach(&self) -> Result<UnixStream, String> {
        reach(&self.path).map_err(|error| format!("The interpreter daemon is gone: {error}. The code was not run."))
    }

    fn why_ended(&self) -> String {
        let why = endpoint::why_daemon_ended(&self.path);
        format!("The interpreter daemon ended without an answer, {why}. The code may or may not have run.")
    }

    fn why_silent(&self, waited: Duration) -> Option<String> {
        let why = endpoint::why_daemon_does_not_answer(&self.path, waited)?;
        Some(format!("The interpreter daemon does not answer: {why}. The code was not run."))
    }
}

/// Reaches a daemon that listens even if no daemon is installed that could be started.
fn reach(path: &Path) -> Result<UnixStream, EndpointError> {
    match endpoint::connect(path)? {
        Some(daemon) => Ok(daemon),
        None => endpoint::connect_or_start(path, &endpoint::daemon()?),
    }
}
