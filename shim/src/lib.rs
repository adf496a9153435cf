//! The parts of the shim that the daemon shares: where the sockets are and how they are reached, the relay, and the scanner of frames.

pub mod endpoint;
pub mod relay;

pub mod frame;

pub mod user_daemons;
