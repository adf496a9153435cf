//! What clients are told without asking again: that the tool or the list of files has changed, and how tasks go. In the legacy era
//! after the handshake, else by subscription.

use std::time::Duration;

use rmcp::model::{DetailedTask, GetMeta as _, ServerNotification, TaskStatusNotification};
use rmcp::service::SubscriptionContext;
use rmcp::{Peer, RoleServer};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Server;
use crate::transport::task_ids;

/// How long a client that was told of a change hears nothing of further ones.
const BETWEEN_CHANGES: Duration = Duration::from_secs(1);
/// States of tasks that wait to be told.
const WATCHED_AHEAD: usize = 8;

impl Server {
    /// Tells a client of the legacy era when lists change; it learns of nothing else by itself.
    pub(super) fn tell_changes(&self, peer: Peer<RoleServer>) {
        let (mut tool, mut files) = (self.shared.descriptions.changes(), self.shared.executions.recent.changes());
        let gone = self.client.gone.clone();
        tokio::spawn(async move {
            loop {
                let told = tokio::select! {
                    () = gone.cancelled() => return,
                    Ok(()) = tool.changed() => peer.notify_tool_list_changed().await,
                    Ok(()) = files.changed() => peer.notify_resource_list_changed().await,
                    else => return,
                };
                if told.is_err() {
                    return;
                }
                // Changes that come meanwhile are told together.
                gone.run_until_cancelled(tokio::time::sleep(BETWEEN_CHANGES)).await;
            }
        });
    }

    /// Tells a subscription what it asked for, until somebody ends it.
    pub(super) async fn tell_subscriber(&self, context: SubscriptionContext) {
        let (mut tool, mut files) = (self.shared.descriptions.changes(), self.shared.executions.recent.changes());
        let accepted = context.accepted().clone();
        let wants = |wanted: Option<bool>| wanted == Some(true);
        let mut tasks = self.watch_tasks(&context);
        // Changes of lists that come close together are told together.
        let mut quiet_until = Instant::now();
        loop {
            let quiet = Instant::now() < quiet_until;
            let told = tokio::select! {
                () = context.cancelled() => return,
                () = self.client.gone.cancelled() => return,
                () = self.client.draining.cancelled() => return,
                () = tokio::time::sleep_until(quiet_until), if quiet => continue,
                Ok(()) = tool.changed(), if wants(accepted.tools_list_changed) && !quiet => {
                    quiet_until = Instant::now() + BETWEEN_CHANGES;
                    context.sink().notify_tool_list_changed().await.map_err(|error| error.to_string())
                }
                Ok(()) = files.changed(), if wants(accepted.resources_list_changed) && !quiet => {
                    quiet_until = Instant::now() + BETWEEN_CHANGES;
                    context.sink().notify_resource_list_changed().await.map_err(|error| error.to_string())
                }
                Some(task) = tasks.recv() => tell_of_task(task, &context).await,
            };
            if let Err(error) = told {
                self.client.session.in_scope(|| tracing::debug!(error, "subscription ended"));
                return;
            }
        }
    }

    /// The tasks that a subscription watches, as they are now and after each change.
    fn watch_tasks(&self, context: &SubscriptionContext) -> mpsc::Receiver<DetailedTask> {
        let (sender, receiver) = mpsc::channel(WATCHED_AHEAD);
        for id in task_ids(&context.request_context().meta) {
            let (tasks, sender) = (self.shared.tasks.clone(), sender.clone());
            let Some(mut changes) = tasks.changes(&id) else { continue };
            tokio::spawn(async move {
                while let Some(task) = tasks.get(&id).await {
                    let is_over = task.task.status.is_terminal();
                    if sender.send(task).await.is_err() || is_over {
                        return;
                    }
                    tokio::select! {
                        () = sender.closed() => return,
                        changed = changes.changed() => if changed.is_err() { return },
                    }
                }
            });
        }
        receiver
    }
}

async fn tell_of_task(task: DetailedTask, context: &SubscriptionContext) -> Result<(), String> {
    let mut notification = ServerNotification::TaskStatusNotification(TaskStatusNotification::new(task.into()));
    notification.get_meta_mut().set_subscription_id(context.sink().id().clone());
    context.request_context().peer.send_notification(notification).await.map_err(|error| error.to_string())
}
