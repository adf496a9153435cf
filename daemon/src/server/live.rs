//! Output as it comes, for a client that asks for all of it: progress notifications that carry what was printed, in order. The client
//! sets the pace; while it does not read, the program waits as at a pipe.

use python_interpreter::wire::Event;
use rmcp::model::{NotificationMetaObject, ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::tools::execute_python_code::LIVE_KEY;

/// Pieces of output that wait for their client.
const WAITING: usize = 16;

/// Starts telling; it has ended when the sender is gone and all has been told.
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
            meta.insert(LIVE_KEY.to_owned(), printed);
            progress.meta = Some(meta);
            if peer.notify_progress(progress).await.is_err() {
                return;
            }
        }
    });
    (sender, AbortOnDropHandle::new(telling))
}
