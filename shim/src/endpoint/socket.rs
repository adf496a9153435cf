//! The two sockets of a user.

use std::path::PathBuf;

use super::{directory::runtime_directory, error::EndpointError};

/// One of the two sockets in the runtime directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The daemon's: MCP and HTTP.
    Mcp,
    /// The embedded interpreter's REST API.
    Interpreter,
}

impl Socket {
    /// The name of its systemd socket unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Mcp => "python-interpreter-mcpd.socket",
            Self::Interpreter => "python-interpreter.socket",
        }
    }

    pub fn file_name(self) -> &'static str {
        match self {
            Self::Mcp => "mcp.sock",
            Self::Interpreter => "interpreter.sock",
        }
    }
}

/// The socket's path in the checked runtime directory.
pub fn socket_path(socket: Socket) -> Result<PathBuf, EndpointError> {
    Ok(runtime_directory()?.join(socket.file_name()))
}
