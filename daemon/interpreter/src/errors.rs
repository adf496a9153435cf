//! Why a request was not executed, or not to its end: the errors of all stages together.

use std::io;

use crate::execution::ExecutionError;
use crate::pool::PoolError;
use crate::prepare::InvalidRequest;
use crate::workshop::WorkshopError;

#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    #[error(
        "the interpreter is busy, and {waiting} programs are waiting already: nothing was run, try again in a moment"
    )]
    QueueFull { waiting: usize },
    #[error("the interpreter was busy for the whole of the program's time: nothing was run, try again later")]
    Busy,
    #[error(
        "other programs held the machine's memory for the whole of the program's time (PYTHON_INTERPRETER_MCP_TOTAL_MEMORY): nothing was run, try again later"
    )]
    NoMemory,
    #[error("the interpreter or its caller was stopped while the program waited for its turn: nothing was run")]
    Stopped,
    #[error("cannot read stored file {id}: {source}")]
    Store { id: String, source: io::Error },
    #[error("cannot read the stored files of the request: {0}")]
    StoreTask(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Execution(#[from] ExecutionError),
}

impl From<WorkshopError> for ExecuteError {
    fn from(error: WorkshopError) -> Self {
        PoolError::from(error).into()
    }
}
