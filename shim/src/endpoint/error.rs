//! What can be wrong with an endpoint. Each message ends with what to do.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("the directory {} cannot be used ({source}); {remedy}", path.display())]
    Directory { path: PathBuf, remedy: &'static str, source: io::Error },

    #[error("{} {reason}; {remedy}", path.display())]
    Refused { path: PathBuf, reason: String, remedy: String },

    #[error(
        "the socket path {} has {} bytes and the system allows {limit}; set XDG_RUNTIME_DIR to a shorter directory",
        path.display(),
        path.as_os_str().len()
    )]
    PathTooLong { path: PathBuf, limit: usize },

    #[error("{} is already served by another process; end that one first, or use it", path.display())]
    AlreadyServed { path: PathBuf },

    #[error("the lock {} cannot be used ({source}); remove it if it is not a plain file of yours", path.display())]
    Lock { path: PathBuf, source: io::Error },

    #[error(
        "the lock {} has been held by another process for {seconds} s; end that process (`fuser {}` names it)",
        path.display(),
        path.display()
    )]
    LockHeld { path: PathBuf, seconds: u64 },

    #[error("binding the socket {} failed ({source}); check the directory's permissions and free space", path.display())]
    Bind { path: PathBuf, source: io::Error },

    #[error("removing the socket {} failed ({source}); remove it by hand", path.display())]
    Remove { path: PathBuf, source: io::Error },

    #[error("connecting to {} failed ({source}); end the process that serves it, and try again", path.display())]
    Connect { path: PathBuf, source: io::Error },

    #[error("python-interpreter-mcpd was not found at {looked}; install it there, or set PYTHON_INTERPRETER_MCPD")]
    DaemonMissing { looked: String },

    #[error("starting {} failed ({source}); check that it can be run", program.display())]
    Start { program: PathBuf, source: io::Error },

    #[error("systemd could not start {unit} ({said}); `systemctl --user status {unit}` says more")]
    Unit { unit: String, said: String },

    #[error("{} ended as soon as it was started, {hint}", program.display())]
    EndedAtOnce { program: PathBuf, hint: String },
}
