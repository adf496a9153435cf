//! Bounds the bytes of answers that clients have not read, for each session and in total. An answer beyond the bound is replaced by an
//! error, so that each request still has one answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rmcp::ErrorData;
use rmcp::model::{ContentBlock, JsonRpcMessage, ResourceContents, ServerJsonRpcMessage, ServerResult, TaskPayload};
use serde_json::Value;

const MAX_SESSION_BYTES: usize = 64 * 1024 * 1024;
const MAX_TOTAL_BYTES: usize = 512 * 1024 * 1024;

static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// The unread bytes of one session.
#[derive(Default)]
pub struct Unread(Arc<AtomicUsize>);

/// An answer's share of the unread bytes, until this is dropped.
pub struct Share {
    session: Arc<AtomicUsize>,
    bytes: usize,
}

impl Unread {
    /// Counts a message until its share is dropped. A message beyond a bound becomes an error. The session's bound always admits one message.
    pub fn count(&self, mut message: ServerJsonRpcMessage) -> (ServerJsonRpcMessage, Share) {
        let share = self.hold(large_bytes(&message)).unwrap_or_else(|reason| {
            if let JsonRpcMessage::Response(response) = &message {
                let error = ErrorData::internal_error(reason, None);
                message = JsonRpcMessage::error(error, Some(response.id.clone()));
            }
            self.share(0)
        });
        (message, share)
    }

    /// Counts so many bytes, or says why they are too many.
    pub fn hold(&self, bytes: usize) -> Result<Share, String> {
        let before = self.0.load(Ordering::Relaxed);
        let whose = if before > 0 && before + bytes > MAX_SESSION_BYTES {
            "this client"
        } else if TOTAL.load(Ordering::Relaxed) + bytes > MAX_TOTAL_BYTES {
            "all clients together"
        } else {
            return Ok(self.share(bytes));
        };
        if bytes == 0 {
            return Ok(self.share(0));
        }
        let mebibytes = bytes >> 20;
        tracing::warn!(mebibytes, whose, "an answer is dropped: too many wait to be read");
        Err(format!(
            "The answer, of {mebibytes} MiB, was dropped: {whose} left too much unread. The request was carried out. Read answers as \
             they come, or ask for less at once."
        ))
    }

    fn share(&self, bytes: usize) -> Share {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        TOTAL.fetch_add(bytes, Ordering::Relaxed);
        Share { session: self.0.clone(), bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.session.fetch_sub(self.bytes, Ordering::Relaxed);
        TOTAL.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The approximate size of a message's variable part, in bytes.
fn large_bytes(message: &ServerJsonRpcMessage) -> usize {
    let JsonRpcMessage::Response(response) = message else { return 0 };
    match &response.result {
        ServerResult::CallToolResult(result) => {
            let content: usize = result.content.iter().map(block_bytes).sum();
            content + result.structured_content.as_ref().map_or(0, value_bytes)
        }
        ServerResult::ReadResourceResult(result) => result
            .contents
            .iter()
            .map(|contents| match contents {
                ResourceContents::TextResourceContents { text, .. } => text.len(),
                ResourceContents::BlobResourceContents { blob, .. } => blob.len(),
                _ => 0,
            })
            .sum(),
        ServerResult::GetTaskResult(result) => match &result.task.payload {
            TaskPayload::Completed { result } => result.values().map(value_bytes).sum(),
            _ => 0,
        },
        _ => 0,
    }
}

fn block_bytes(block: &ContentBlock) -> usize {
    match block {
        ContentBlock::Text(text) => text.text.len(),
        ContentBlock::Image(image) => image.data.len(),
        _ => 0,
    }
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(value_bytes).sum(),
        Value::Object(object) => object.values().map(value_bytes).sum(),
        _ => 0,
    }
}
