//! What `status` shows of a running daemon: clients, latest executions and durations. It holds nothing of any program.

mod board;
mod report;

pub use board::{Board, OnBoard, now};
pub use report::{InterpreterReport, Status};
