//! How an execution ended.

use std::time::Duration;

use crate::memory::Exceeded;
use crate::slot::SlotError;
use crate::wire::{ExecuteResponse, Outcome};

/// The answer to an execute request.
#[derive(Debug)]
pub struct Executed {
    pub response: ExecuteResponse,
    pub outcome: Outcome,
}

/// Why a program does not run any more.
pub enum End {
    /// It exited, or a signal killed it.
    Itself(Exit),
    /// It was stopped at this time limit.
    Time(Duration),
    /// It was stopped by the interpreter's own watch of its memory.
    Memory(Exceeded),
    /// The execution was ended from outside.
    Asked,
    /// The slot died.
    Lost(SlotError),
}

impl End {
    /// Whether the program exited with code 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Itself(Exit::Code(0)))
    }
}

/// How a program's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal {
        number: i32,
        /// CPU time of the process and of the children that it has waited for.
        cpu_time: Duration,
    },
}
