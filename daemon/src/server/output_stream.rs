//! Streams a program's output to a client that asks for it, as progress notifications in order. While the client does not read, the
//! program waits, as it would at a full pipe.

use python_interpreter::wire::Event;
use rmcp::model::{NotificationMetaObject, ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::tools::OUTPUT_STREAM_KEY;

/// How many pieces of output wait for a slow client.
const WAITING: usize = 16;

/// Starts the stream. The task ends once the sender is dropped and everything is sent.
pub fn tell(token: ProgressToken, peer: Peer<RoleServer>) -> (mpsc::Sender<Event>, AbortOnDropHandle<()>) {
    let (sender, mut events) = mpsc::channel(WAITING);
    let since = Instant::now();
    let telling = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let printed = match event {
                Event::Stdout { stdout } => json!({ "stdout": stdout }),
                Event::Stderr { stderr } => json!({ "stderr": stderr }),
                Event::Result { .. } | Event::Error { .. } => continue,
            };
            let mut progress = ProgressNotificationParam::new(token.clone(), since.elapsed().as_secs_f64());
            let mut meta = NotificationMetaObject::default();
            meta.insert(OUTPUT_STREAM_KEY.to_owned(), printed);
            progress.meta = Some(meta);
            if peer.notify_progress(progress).await.is_err() {
                return;
            }
        }
    });
    (sender, AbortOnDropHandle::new(telling))
}
