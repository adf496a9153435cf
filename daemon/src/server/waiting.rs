//! Waits for a call's execution on behalf of its client: tells it of progress, gives up when it does, and stops waiting when the
//! execution is to go on as a task.

use std::time::Duration;

use rmcp::model::{CallToolResult, ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

/// Clients give up after 60 s without a sign, some earlier.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Who is told how far it is.
pub struct Progress {
    pub token: ProgressToken,
    pub peer: Peer<RoleServer>,
}

/// An execution in a task of its own: should it panic, its client still gets an answer. Dropping it ends the run.
pub type Running = JoinSet<CallToolResult>;

pub enum Waited {
    Ended(CallToolResult),
    /// Inside; the log says more.
    Failed,
    Cancelled,
    /// It still runs.
    Outlasted(Running),
}

pub async fn wait(
    mut running: Running,
    progress: Option<Progress>,
    last_line: &watch::Receiver<String>,
    patience: Option<Duration>,
    cancelled: &CancellationToken,
) -> Waited {
    let started = Instant::now();
    let mut ticks = interval_at(started + PROGRESS_EVERY, PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let out_of_patience = async {
        match patience {
            Some(patience) => sleep(patience).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(out_of_patience);
    loop {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => return Waited::Cancelled,
            ended = running.join_next() => return match ended {
                Some(Ok(result)) => Waited::Ended(result),
                _ => Waited::Failed,
            },
            () = &mut out_of_patience => return Waited::Outlasted(running),
            _ = ticks.tick(), if progress.is_some() => {
                if let Some(progress) = &progress {
                    let told = progress.tell(started.elapsed(), last_line);
                    // A client that does not read would not read the answer either.
                    cancelled.run_until_cancelled(told).await;
                }
            }
        }
    }
}

impl Progress {
    async fn tell(&self, elapsed: Duration, last_line: &watch::Receiver<String>) {
        let message = match last_line.borrow().as_str() {
            "" => format!("Running for {} s", elapsed.as_secs()),
            line => line.to_owned(),
        };
        let progress = ProgressNotificationParam::new(self.token.clone(), elapsed.as_secs_f64()).with_message(message);
        if let Err(error) = self.peer.notify_progress(progress).await {
            tracing::debug!(%error, "progress cannot be told");
        }
    }
}
