//! Reads an answer that streams the program's output as events, up to the result.

use python_interpreter::wire::Event;

use super::answer::{Answer, MAX_ANSWER_BYTES};
use super::connections::Answering;
use crate::interpreter::context::CallContext;
use crate::interpreter::failure::{Failure, MAX_SHOWN_ANSWER_BYTES};
use crate::interpreter::last_line::LastLine;

/// A larger event is parsed off the event loop, so that other clients do not wait for it.
const LARGE_EVENT_BYTES: usize = 256 * 1024;

/// `url` is what error messages call the interpreter.
pub async fn read(mut response: Answering, url: &str, context: &CallContext) -> Result<Answer, Failure> {
    let dropped = |source| Failure::Dropped { url: url.to_owned(), source };
    let mut last_line = context.last_line.clone().map(LastLine::new);
    let mut line = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(dropped)? {
        let mut rest: &[u8] = &chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            match parse(std::mem::take(&mut line), url).await? {
                Event::Result { result, outcome } => {
                    return Ok(Answer { response: result, outcome: Some(outcome) });
                }
                Event::Error { detail } => return Err(Failure::Status { status: 500, body: detail.into_bytes() }),
                event => {
                    last_line.iter_mut().for_each(|last_line| last_line.take(&event));
                    if let Some(live) = &context.live {
                        // A receiver that is gone has dropped the call as well.
                        let _ = live.send(event).await;
                    }
                }
            }
        }
        line.extend_from_slice(rest);
        if line.len() > MAX_ANSWER_BYTES {
            line.truncate(MAX_SHOWN_ANSWER_BYTES);
            return Err(Failure::TooLarge { url: url.to_owned(), limit: MAX_ANSWER_BYTES, first: line });
        }
    }
    Err(not_the_api(url, "the stream ended without a result".to_owned(), Vec::new()))
}

async fn parse(line: Vec<u8>, url: &str) -> Result<Event, Failure> {
    let is_large = line.len() > LARGE_EVENT_BYTES;
    let parse = move || serde_json::from_slice::<Event>(&line).map_err(|error| (error, line));
    let parsed = if is_large { tokio::task::spawn_blocking(parse).await } else { Ok(parse()) };
    match parsed {
        Ok(Ok(event)) => Ok(event),
        Ok(Err((error, mut line))) => {
            line.truncate(MAX_SHOWN_ANSWER_BYTES);
            // The reason repeats nothing of the event, because it is logged.
            Err(not_the_api(url, format!("an event at line {} column {}", error.line(), error.column()), line))
        }
        Err(error) => Err(not_the_api(url, error.to_string(), Vec::new())),
    }
}

fn not_the_api(url: &str, reason: String, first: Vec<u8>) -> Failure {
    Failure::NotTheApi { url: url.to_owned(), reason, first }
}
