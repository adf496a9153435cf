//! Executes calls: each waits for its turn, goes to an interpreter once, is logged and counted, and becomes a result.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use futures_util::FutureExt as _;
use python_interpreter::wire::{ExecuteRequest, ExecuteResponse};
use rmcp::model::CallToolResult;
use tokio_util::sync::CancellationToken;
use tracing::{Span, field};

use crate::fair_queue::FairQueue;
use crate::interpreter::{CallContext, Execution, ExecutionOutcome, Interpreters};
use crate::metrics::Metrics;
use crate::pictures::{PictureTurns, Shown};
use crate::resources::Recent;
use crate::status::Board;
use crate::tasks::Running;
use crate::tools::Tool;

/// A larger result is shaped off the event loop, because its JSON is written twice.
const LARGE_BYTES: usize = 256 * 1024;

pub struct Executions {
    interpreters: RwLock<Arc<Interpreters>>,
    pub recent: Recent,
    pub metrics: Metrics,
    pub board: Arc<Board>,
    pub queue: Arc<FairQueue>,
    pictures: PictureTurns,
    /// Cancelled when the daemon stops and its calls are to be answered at once.
    stopping: CancellationToken,
    begun: AtomicU64,
    /// Tells the executions of this daemon from those of another.
    prefix: String,
}

/// A call to be executed.
pub struct Call {
    pub tool: &'static dyn Tool,
    pub request: ExecuteRequest,
    pub context: CallContext,
    /// The client's number, by which turns are shared.
    pub client: u64,
    pub session: Span,
}

impl Executions {
    pub fn new(interpreters: Interpreters, concurrency: usize) -> Self {
        let (recent, metrics, queue) = (Recent::default(), Metrics::new(), FairQueue::new(concurrency));
        Self {
            interpreters: RwLock::new(Arc::new(interpreters)),
            recent,
            metrics,
            board: Board::new(),
            queue,
            pictures: PictureTurns::default(),
            stopping: CancellationToken::new(),
            begun: AtomicU64::new(0),
            prefix: format!("{:x}", std::process::id()),
        }
    }

    /// The interpreters that the settings name now.
    pub fn interpreters(&self) -> Arc<Interpreters> {
        self.interpreters.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the interpreters and the number of concurrent executions. What runs already is not affected.
    pub fn change(&self, interpreters: Interpreters, concurrency: usize) {
        *self.interpreters.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(interpreters);
        self.queue.resize(concurrency);
    }

    /// Makes every call answer now, with what its program has printed.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Executes a call; none if that panicked. Dropping the future ends the program, because it closes the connection to the interpreter.
    pub fn start(self: Arc<Self>, mut call: Call) -> Running {
        Box::pin(async move {
            let call_session = call.session.clone();
            let run = AssertUnwindSafe(self.run(&mut call)).catch_unwind();
            run.await.inspect_err(|_| call_session.in_scope(|| tracing::error!("an execution panicked"))).ok()
        })
    }

    async fn run(&self, call: &mut Call) -> CallToolResult {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let id = format!("{}-{number}", self.prefix);
        let Call { tool, request, context, client, session } = call;
        context.execution_id = Some(id.clone());
        context.client = Some(format!("{}-{client}", self.prefix));
        context.stopping = self.stopping.clone();
        let (tool, client, context, session) = (*tool, *client, &*context, &*session);
        let started = Instant::now();
        let mut unfinished = Unfinished { executions: Some(self), client, id: &id, started, session };
        let source_bytes = request.source_code.len();
        session.in_scope(|| tracing::debug!(execution_id = id, source_bytes, "execution begins"));
        self.metrics.changed.notify_one();
        let interpreters = self.interpreters();
        let turn = self.queue.take(client, interpreters.limit(request).time);
        let execution = match self.stopping.run_until_cancelled(turn).await {
            Some(Ok(_turn)) => {
                let _running = self.metrics.running();
                interpreters.execute(request, context).await
            }
            Some(Err(busy)) => {
                self.metrics.refused();
                refused(format!("Busy: {busy}. The code was not run; try again in a moment."))
            }
            None => {
                self.metrics.refused();
                refused("The interpreter daemon was stopped. The code was not run.".to_owned())
            }
        };
        unfinished.executions = None;
        let duration = started.elapsed();
        if execution.outcome != ExecutionOutcome::Refused {
            self.metrics.ended(execution.outcome, duration);
        }
        self.board.ended(client, &id, execution.outcome, execution.response.exit_code, duration);
        // One event without a span of its own, which would cost every call.
        session.in_scope(|| {
            tracing::info!(
                execution_id = id,
                trace_id = context.trace.id(),
                outcome = field::debug(execution.outcome),
                exit_code = execution.response.exit_code,
                duration_milliseconds = duration.as_millis(),
                source_bytes,
                stdout_bytes = execution.response.stdout.len(),
                stderr_bytes = execution.response.stderr.len(),
                files = execution.response.files.len(),
                interpreter = execution.interpreter,
                error = execution.error,
                "execution ended"
            );
        });
        if execution.has_files {
            self.recent.add(execution.response.files.iter());
        }
        let shown = Shown::of(&execution, &*interpreters, &self.pictures).await;
        if execution.response.stdout.len() + execution.response.stderr.len() < LARGE_BYTES {
            return tool.result(execution, shown);
        }
        let made = tokio::task::spawn_blocking(move || tool.result(execution, shown)).await;
        made.unwrap_or_else(|error| {
            session.in_scope(|| tracing::error!(%error, "cannot shape the result"));
            let failure = failure("The result could not be shown; the daemon's log says more.".to_owned());
            tool.result(failure, Shown::default())
        })
    }
}

fn refused(stderr: String) -> Execution {
    Execution { outcome: ExecutionOutcome::Refused, ..failure(stderr) }
}

fn failure(stderr: String) -> Execution {
    let response = ExecuteResponse { exit_code: 1, stderr, ..ExecuteResponse::default() };
    Execution {
        response,
        outcome: ExecutionOutcome::Failed,
        interpreter: "none".to_owned(),
        has_files: false,
        error: None,
    }
}

/// Records how a call ended that did not come to its end.
struct Unfinished<'a> {
    /// None once the call has ended.
    executions: Option<&'a Executions>,
    client: u64,
    id: &'a str,
    started: Instant,
    session: &'a Span,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let Some(Executions { metrics, board, .. }) = self.executions else { return };
        let duration = self.started.elapsed();
        if std::thread::panicking() {
            metrics.ended(ExecutionOutcome::Failed, duration);
            board.ended(self.client, self.id, ExecutionOutcome::Failed, 1, duration);
        } else {
            metrics.cancelled();
            board.ended(self.client, self.id, ExecutionOutcome::Cancelled, 1, duration);
            self.session.in_scope(|| tracing::info!(execution_id = self.id, "execution cancelled"));
        }
    }
}
