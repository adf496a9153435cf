//! The outcome of one execution.

use python_interpreter::wire::ExecuteResponse;

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionOutcome {
    /// The interpreter returned a result, and the time limit was not reached. The program may have met another limit.
    Finished,
    TimedOut,
    /// It was ended because the daemon or the interpreter stopped.
    Stopped,
    /// It could not be run, or its result was lost.
    Failed,
    /// It was not run, because the interpreter was busy.
    Refused,
    /// Its client has cancelled it, or is gone.
    Cancelled,
}

impl ExecutionOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::TimedOut => "timed_out",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One execution that has ended.
#[derive(Debug)]
pub struct Execution {
    pub response: ExecuteResponse,
    pub outcome: ExecutionOutcome,
    /// The interpreter: a URL, or "embedded".
    pub interpreter: String,
    /// Whether its files can be read.
    pub has_files: bool,
    /// Why there is no result of the program, for the log.
    pub error: Option<String>,
}
