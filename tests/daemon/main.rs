//! The daemon, from its clients' lines to an interpreter: a service that the tests play, or the embedded one. Its command line, and real
//! clients that launch the real shim.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

// Its socket, its end, its log.
mod lifecycle;
mod log;
mod start_up;

// What a client may send, and what clients are to each other.
mod floods;
mod hang_ups;
mod http;
mod protocol;
mod sessions;
mod stress;

// What it asks an interpreter for, and what becomes of the answer.
mod detection;
mod embedded;
mod service;
mod tasks;
mod tool;

// The shim between a client and one daemon after the other.
mod killed_under_load;
mod model;

// Other people's clients, and the protocol's own suite.
mod client_files;
mod conformance;
mod real_clients;

// Its commands.
mod command_line;
mod config;
mod doctor;
mod exec;
mod preload;
mod status;
mod terminal;
