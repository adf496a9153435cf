//! The shim, alone: what it relays, when it ends, and how it reaches a daemon, which the tests play.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its own functions too")]

#[path = "../support/shim.rs"]
mod support;

// How a daemon is found or started.
mod socket;
mod start;

// What passes, who may be slow, and whose end ends it.
mod exit;
mod relay;

// The daemon's end is not the client's.
mod daemon_gone;
mod deadlines;

// What it tells a person, and what it is made of.
mod command;
