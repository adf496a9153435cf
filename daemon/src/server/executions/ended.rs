//! What the log says of an execution, once its answer is on its way: writing it takes a tenth of a short call's time.

use std::time::Duration;

use tracing::{Span, field};

use crate::interpreter_api::{Execution, Outcome, Trace};

pub struct Ended {
    id: String,
    session: Span,
    trace: Trace,
    outcome: Outcome,
    exit_code: i32,
    duration: Duration,
    source_bytes: usize,
    stdout_bytes: usize,
    stderr_bytes: usize,
    files: usize,
    interpreter: String,
    error: Option<String>,
}

impl Ended {
    pub fn new(
        id: String,
        session: Span,
        trace: Trace,
        execution: &Execution,
        duration: Duration,
        source_bytes: usize,
    ) -> Self {
        let Execution { response, outcome, interpreter, error, .. } = execution;
        Self {
            id,
            session,
            trace,
            outcome: *outcome,
            exit_code: response.exit_code,
            duration,
            source_bytes,
            stdout_bytes: response.stdout.len(),
            stderr_bytes: response.stderr.len(),
            files: response.files.len(),
            interpreter: interpreter.clone(),
            error: error.clone(),
        }
    }

    pub async fn tell(self) {
        // Who yields goes on after all that can be done now, which the answer is.
        tokio::task::yield_now().await;
        // One event and no span: both would be made for every call.
        tracing::info!(
            parent: &self.session,
            execution_id = self.id,
            trace_id = self.trace.id(),
            outcome = field::debug(self.outcome),
            exit_code = self.exit_code,
            duration_milliseconds = self.duration.as_millis(),
            source_bytes = self.source_bytes,
            stdout_bytes = self.stdout_bytes,
            stderr_bytes = self.stderr_bytes,
            files = self.files,
            interpreter = self.interpreter,
            error = self.error,
            "execution ended"
        );
    }
}
