//! One `tools/call`, from its arguments to the answer: a result, or a task if it takes long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResponse, CreateTaskResult};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::executions::Call;
use super::progress::{Progress, Waited, wait};
use super::{Server, Shared, internal, is_modern, output_stream, stamp};
use crate::interpreter::{CallContext, Trace};
use crate::tasks::Running;
use crate::tools::{self, OUTPUT_CHARACTERS, OUTPUT_CHARACTERS_KEY, OUTPUT_STREAM_KEY};

/// A call that has started.
pub(super) struct Begun {
    running: Running,
    progress: Option<Progress>,
    /// Streams the output, if the client asked for it. Ends when everything is sent.
    telling: Option<AbortOnDropHandle<()>>,
    last_line: watch::Receiver<String>,
    /// After how long it becomes a task, if the client supports tasks.
    patience: Option<Duration>,
}

impl Server {
    /// Starts a call, or says which argument is wrong.
    pub(super) fn begin(
        &self,
        call: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<Begun, ErrorData> {
        let Shared { executions, task_after, .. } = &*self.shared;
        let tool = tools::find(&call.name)?;
        let mut request = tool.request(call.arguments, executions.interpreters().timeout)?;
        let wanted = context.meta.get(OUTPUT_CHARACTERS_KEY).and_then(serde_json::Value::as_u64);
        let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok());
        request.output_characters = Some(wanted.unwrap_or(OUTPUT_CHARACTERS));
        let knows_tasks =
            is_modern(context) && context.client_capabilities().is_some_and(|known| known.supports_tasks());
        let progress = context.meta.get_progress_token().map(|token| Progress {
            token,
            peer: context.peer.clone(),
            since: Instant::now(),
            session: self.client.session.clone(),
        });
        let live = match &progress {
            Some(progress) if context.meta.contains_key(OUTPUT_STREAM_KEY) => {
                Some(output_stream::tell(progress.token.clone(), progress.peer.clone()))
            }
            _ => None,
        };
        let (live, telling) = live.unzip();
        // A client that gets the whole output needs no last line.
        let progress = progress.filter(|_| live.is_none());
        let (told, last_line) = watch::channel(String::new());
        let call = Call {
            tool,
            request,
            context: CallContext {
                execution_id: None,
                client: None,
                learns: !self.client.is_over_tcp,
                stopping: CancellationToken::new(),
                trace: Trace::new(context.meta.get_traceparent(), context.meta.get_tracestate()),
                last_line: (knows_tasks || progress.is_some()).then_some(told),
                live,
            },
            client: self.client.key,
            session: self.client.session.clone(),
        };
        let running = executions.clone().start(call);
        let patience = knows_tasks.then(|| Duration::from_secs(task_after.load(Ordering::Relaxed)));
        Ok(Begun { running, progress, telling, last_line, patience })
    }

    /// Waits until a call has ended, is `cancelled`, or becomes a task.
    pub(super) async fn end(&self, begun: Begun, cancelled: &CancellationToken) -> Result<CallToolResponse, ErrorData> {
        let Begun { running, progress, telling, last_line, patience } = begun;
        let waited = match wait(running, progress.as_ref(), &last_line, patience, cancelled).await {
            Waited::Outlasted(_) if cancelled.is_cancelled() => Waited::Cancelled,
            Waited::Outlasted(running) => match self.shared.tasks.adopt(running, last_line.clone()).await {
                // The client has given up meanwhile, and does not want the task.
                Ok(task) if cancelled.is_cancelled() => {
                    let _ = self.shared.tasks.cancel(&task.task_id);
                    Waited::Cancelled
                }
                Ok(task) => return Ok(CallToolResponse::Task(CreateTaskResult::new(task).with_meta(stamp(None)))),
                Err(running) => wait(running, progress.as_ref(), &last_line, None, cancelled).await,
            },
            waited => waited,
        };
        let has_ended = matches!(waited, Waited::Ended(_));
        if let Some(telling) = telling.filter(|_| has_ended) {
            // The output comes before the answer.
            cancelled.run_until_cancelled(telling).await;
        }
        match waited {
            Waited::Ended(mut result) => {
                result.meta = Some(stamp(result.meta));
                Ok(result.into())
            }
            Waited::Failed | Waited::Outlasted(_) => {
                Err(internal("The execution failed inside the daemon; its log says more."))
            }
            Waited::Cancelled => Err(internal("The call was cancelled.")),
        }
    }
}
