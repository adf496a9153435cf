//! An execution told as it happens: one JSON object a line, the last one its result.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};
use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::task::AbortOnDropHandle;

use super::Problem;
use super::body::{Body, failed};
use crate::executor::{ExecuteError, Executor};
use crate::wire::{EVENTS, Event, ExecuteRequest};

/// Events that wait for a reader: then the program waits.
const WAITING: usize = 16;

/// The lines still to come. Dropping it ends the execution.
pub struct Events {
    first: Option<Event>,
    receiver: Receiver<Event>,
    _execution: AbortOnDropHandle<()>,
}

/// Answers with events from the first on; what fails before there is one is an ordinary error.
pub(super) async fn execute(
    executor: Arc<Executor>,
    request: ExecuteRequest,
    execution_id: Option<String>,
) -> Result<Response<Body>, Problem> {
    let (sender, mut receiver) = channel(WAITING);
    let (fail, failure) = tokio::sync::oneshot::channel::<ExecuteError>();
    let id = execution_id.clone();
    let execution = AbortOnDropHandle::new(tokio::spawn(async move {
        let last = match executor.execute(request, id.as_deref(), Some(&sender)).await {
            Ok(executed) => Event::Result { result: executed.response, outcome: executed.outcome },
            Err(error) => {
                let detail = error.to_string();
                // If nothing has been sent, the other side waits for this.
                let _ = fail.send(error);
                Event::Error { detail }
            }
        };
        // A reader that is gone has aborted this task, or is about to.
        let _ = sender.send(last).await;
    }));
    let first = match receiver.recv().await {
        Some(Event::Error { detail }) => {
            let problem = |error| Problem::of_execution(&error, execution_id.as_deref());
            return Err(failure.await.map_or_else(|_| failed(detail), problem));
        }
        first => first,
    };
    let events = Events { first, receiver, _execution: execution };
    Response::builder().status(StatusCode::OK).header(CONTENT_TYPE, EVENTS).body(Body::Events(events)).map_err(failed)
}

impl Events {
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        let event = match self.first.take() {
            Some(event) => Some(event),
            None => ready!(Pin::new(&mut self.receiver).poll_recv(context)),
        };
        Poll::Ready(event.map(|event| {
            let mut line = serde_json::to_vec(&event)?;
            line.push(b'\n');
            Ok(Bytes::from(line))
        }))
    }
}
