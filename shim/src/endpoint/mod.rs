//! A user's two sockets: where they are, who may answer on them, and how they are bound, reached, or their owner started.

mod error;
mod peer;

mod directory;
mod socket;

mod log;
mod owner;

mod listener;
mod owned_path;

mod start;
mod unit;

mod diagnosis;

pub use diagnosis::{unit_property, why_daemon_does_not_answer, why_daemon_ended};
pub use directory::{config_directory, runtime_directory, state_directory, state_place};
pub use error::EndpointError;
pub use listener::{bind, connect, remove_stale};
pub use log::{daemon_log, reason_in};
pub use owned_path::OwnedPath;
pub use owner::{Owner, daemon};
pub use peer::peer_is_this_user;
pub use socket::{Socket, socket_path};
pub use start::{connect_or_start, ensure_listening};
