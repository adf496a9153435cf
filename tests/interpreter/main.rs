//! The embedded interpreter, spoken to over its own API: what programs get, what they cannot get, and what is left of them.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "in a test a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

// What a caller sees.
mod api;
mod bytecode;
mod files;
mod output;
mod settings;
mod which_python;

// A program is what it is under plain Python.
mod fidelity;
mod learned_preload;
mod preload;
mod unprivileged;

// What it may take, and what makes way for what.
mod bounds;
mod few_descriptors;
mod precedence;
mod slow_disk;
mod takeover;
mod total_memory;
mod workshop;

// What it must not reach.
mod hostile;
mod sandbox;

// All of it at once.
mod load;
