//! What the shim is made of and the daemon shares: where the sockets are, how they are reached, and how bytes pass.
//! Leaves out what the bytes mean; only [`frame`] looks into them, for two members.

pub mod endpoint;
pub mod relay;

pub mod frame;
