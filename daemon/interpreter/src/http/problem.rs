//! An error as the client reads it.

use hyper::StatusCode;

use crate::errors::ExecuteError;
use crate::execution::ExecutionError;
use crate::pool::PoolError;
use crate::slot::SlotError;

#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem { status, detail: detail.into() }
    }

    /// An error that is the interpreter's fault.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    /// Also logs the error.
    pub fn of_execution(error: &ExecuteError, execution_id: Option<&str>) -> Self {
        let status = match error {
            ExecuteError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            // The machine lacks something, for the moment or until its owner acts.
            ExecuteError::QueueFull { .. }
            | ExecuteError::Busy
            | ExecuteError::NoMemory
            | ExecuteError::Stopped
            | ExecuteError::Pool(PoolError::Workshop(_)) => StatusCode::SERVICE_UNAVAILABLE,
            ExecuteError::Pool(PoolError::Slot(error)) | ExecuteError::Execution(ExecutionError::Slot(error)) => {
                match error {
                    SlotError::Failed(_) | SlotError::SpawnerGone(_) | SlotError::Short(_) | SlotError::Slow => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                    SlotError::Died | SlotError::NotGone | SlotError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
                }
            }
            ExecuteError::Store { .. }
            | ExecuteError::StoreTask(_)
            | ExecuteError::Execution(ExecutionError::Workspace { .. } | ExecutionError::Stuck) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        tracing::warn!(execution_id, %error, status = status.as_u16(), "not executed");
        Problem::new(status, error.to_string())
    }
}

impl From<ExecuteError> for Problem {
    fn from(error: ExecuteError) -> Self {
        Problem::of_execution(&error, None)
    }
}
