//! The daemon that gives a user's AI clients isolated Python, and the commands around it. `main` only starts [`cli::run`].

pub mod cli;
mod config;

mod first_byte;
pub mod http;
mod idle_exit;
mod listener;
mod newcomers;
mod sessions;
mod socket_activation;
mod transport;
mod waiting;

mod fair_queue;
mod server;
mod tools;

mod pictures;
mod resources;
mod tasks;

mod interpreter;

mod metrics;
mod status;

mod logging;
mod systemd;
