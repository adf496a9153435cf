//! The events of an execution as a body: one JSON object a line.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tokio_util::task::AbortOnDropHandle;

use crate::wire::Event;

/// Dropping it ends the execution.
pub struct EventLines {
    pub first: Option<Event>,
    pub receiver: Receiver<Event>,
    pub execution: AbortOnDropHandle<()>,
}

impl EventLines {
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
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
