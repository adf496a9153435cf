//! Notifications: changes of the tools, of the list of files, and of tasks. In the legacy era every client gets those of lists, else
//! clients subscribe.

use std::time::Duration;

use rmcp::model::{DetailedTask, GetMeta as _, ServerNotification, TaskStatusNotification};
use rmcp::service::SubscriptionContext;
use rmcp::{Peer, RoleServer};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Server;
use crate::transport::task_ids;

/// The least time between two notifications of a client.
const BETWEEN_CHANGES: Duration = Duration::from_secs(1);
/// How many states of tasks wait for a slow client.
const WATCHED_AHEAD: usize = 8;

impl Server {
    /// Notifies a client of the legacy era when lists change.
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
                // Later changes are notified together.
                gone.run_until_cancelled(tokio::time::sleep(BETWEEN_CHANGES)).await;
            }
        });
    }

    /// Serves a subscription until it ends.
    pub(super) async fn tell_subscriber(&self, context: SubscriptionContext) {
        let (mut tool, mut files) = (self.shared.descriptions.changes(), self.shared.executions.recent.changes());
        let accepted = context.accepted().clone();
        let wants = |wanted: Option<bool>| wanted == Some(true);
        let mut tasks = self.watch_tasks(&context);
        // Changes of lists within a second are notified together.
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

    /// The state of each task that a subscription watches, now and after each change.
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
