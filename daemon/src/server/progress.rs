//! Waits for a call on behalf of its client: sends progress, and stops when the client gives up or the call becomes a task.

use std::pin::Pin;
use std::time::Duration;

use rmcp::model::{CallToolResult, ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Span;

use crate::tasks::Running;

/// Clients give up after 60 s without progress, some earlier.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Who gets the progress notifications.
pub struct Progress {
    pub token: ProgressToken,
    pub peer: Peer<RoleServer>,
    /// When the call arrived.
    pub since: Instant,
    /// The session's span, for the log.
    pub session: Span,
}

pub enum Waited {
    Ended(CallToolResult),
    /// It panicked.
    Failed,
    Cancelled,
    /// It still runs.
    Outlasted(Running),
}

pub async fn wait(
    mut running: Running,
    progress: Option<&Progress>,
    last_line: &watch::Receiver<String>,
    patience: Option<Duration>,
    cancelled: &CancellationToken,
) -> Waited {
    let mut ticks = progress.map(|_| {
        let mut ticks = interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let out_of_patience = async {
        match patience {
            Some(patience) => sleep(patience).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(out_of_patience);
    // Sent beside the execution, never before it: a client that does not read must not block its programs.
    let mut telling: Option<Telling> = None;
    let waited = loop {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => return Waited::Cancelled,
            ended = &mut running => break ended.map_or(Waited::Failed, Waited::Ended),
            () = &mut out_of_patience => break Waited::Outlasted(spawned(running)),
            () = async { if let Some(telling) = &mut telling { telling.await } }, if telling.is_some() => telling = None,
            () = async { if let Some(ticks) = &mut ticks { ticks.tick().await; } }, if ticks.is_some() && telling.is_none() => {
                telling = progress.map(|progress| progress.tell(last_line));
            }
        }
    };
    // No notification may come after the answer.
    if let Some(telling) = telling {
        cancelled.run_until_cancelled(telling).await;
    }
    // A client that has given up wants neither an answer nor a task.
    if cancelled.is_cancelled() { Waited::Cancelled } else { waited }
}

/// Runs on in a task of its own.
fn spawned(running: Running) -> Running {
    let task = AbortOnDropHandle::new(tokio::spawn(running));
    Box::pin(async { task.await.ok().flatten() })
}

type Telling = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Progress {
    fn tell(&self, last_line: &watch::Receiver<String>) -> Telling {
        let elapsed = self.since.elapsed();
        let message = match last_line.borrow().as_str() {
            "" => format!("Running for {} s", elapsed.as_secs()),
            line => line.to_owned(),
        };
        let progress = ProgressNotificationParam::new(self.token.clone(), elapsed.as_secs_f64()).with_message(message);
        let (peer, session) = (self.peer.clone(), self.session.clone());
        Box::pin(async move {
            if let Err(error) = peer.notify_progress(progress).await {
                session.in_scope(|| tracing::debug!(%error, "cannot send progress"));
            }
        })
    }
}
