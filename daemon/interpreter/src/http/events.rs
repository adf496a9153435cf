//! Answers an execution with a stream of events, the last of which is its result.

use std::sync::Arc;

use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};
use tokio::sync::mpsc::channel;
use tokio_util::task::AbortOnDropHandle;

use super::body::Body;
use super::event_lines::EventLines;
use super::problem::Problem;
use crate::caller::Caller;
use crate::errors::ExecuteError;
use crate::executor::Executor;
use crate::wire::{EVENTS, Event, ExecuteRequest};

/// Most events that wait for the client to read them. Then the program waits.
const WAITING: usize = 16;

/// Answers with events. If the execution fails before the first event, the answer is an ordinary error.
pub async fn execute(
    executor: Arc<Executor>,
    request: ExecuteRequest,
    caller: Caller,
) -> Result<Response<Body>, Problem> {
    let (sender, mut receiver) = channel(WAITING);
    let (fail, failure) = tokio::sync::oneshot::channel::<ExecuteError>();
    let execution_id = caller.execution_id.clone();
    let execution = AbortOnDropHandle::new(tokio::spawn(async move {
        let last = match executor.execute(request, &caller, Some(&sender)).await {
            Ok(executed) => Event::Result { result: executed.response, outcome: executed.outcome },
            Err(error) => {
                let detail = error.to_string();
                // Received below if no event has been sent before.
                let _ = fail.send(error);
                Event::Error { detail }
            }
        };
        // It fails only if the client is gone; then this task is aborted.
        let _ = sender.send(last).await;
    }));
    let first = match receiver.recv().await {
        Some(Event::Error { detail }) => {
            let problem = |error| Problem::of_execution(&error, execution_id.as_deref());
            return Err(failure.await.map_or_else(|_| Problem::internal(detail), problem));
        }
        first => first,
    };
    let body = Body::Events(EventLines { first, receiver, execution });
    Response::builder().status(StatusCode::OK).header(CONTENT_TYPE, EVENTS).body(body).map_err(Problem::internal)
}
