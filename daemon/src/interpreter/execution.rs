//! What became of one execution.

use python_interpreter::wire::ExecuteResponse;

/// How an execution ended. The words are what the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The program ran to its end, whatever its exit code.
    Finished,
    TimedOut,
    /// It could not be run, or its result did not arrive.
    Failed,
    /// It had no turn, because the interpreter was busy.
    Refused,
    /// Its client gave it up.
    Cancelled,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What became of one execution.
#[derive(Debug)]
pub struct Execution {
    pub response: ExecuteResponse,
    pub outcome: Outcome,
    /// Which interpreter it was: a URL or "embedded".
    pub interpreter: String,
    /// Its files can be read by their ids.
    pub has_files: bool,
    /// Why there is no result of the program's own, for the log.
    pub error: Option<String>,
}
