//! What others than clients want to know of the server: Prometheus, `status`, the service manager.

use super::{Executions, Server, Shared};
use crate::metrics::{Counted, Now};
use crate::status::{Interpreter, OnBoard, Status};

impl Server {
    /// Counts the client until the guard is dropped.
    pub fn count_client(&self) -> (Counted, OnBoard) {
        let Executions { metrics, board, .. } = &*self.shared.executions;
        (metrics.client(), board.guard(self.client.key))
    }

    /// What Prometheus reads.
    pub async fn metrics(&self) -> String {
        let Shared { executions, tasks, .. } = &*self.shared;
        let slots = executions.api().embedded_in_use().await.map(|embedded| embedded.slots);
        executions.metrics.text(Now { waiting: executions.queue.waiting(), tasks: tasks.running(), slots })
    }

    /// What `status` shows.
    pub async fn status(&self) -> Status {
        let Shared { executions, tasks, started_by, .. } = &*self.shared;
        let api = executions.api();
        let (name, why, embedded) =
            (api.current().await.to_owned(), api.why().await.to_owned(), api.embedded_in_use().await);
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            started_by: (*started_by).to_owned(),
            interpreter: Interpreter { name, why, embedded },
            running: executions.metrics.executions_running(),
            waiting: executions.queue.waiting(),
            tasks: tasks.running(),
            ..Status::default()
        };
        executions.board.fill(&mut status);
        status
    }

    /// What a person wants to know first.
    pub async fn status_line(&self) -> String {
        let Shared { executions, .. } = &*self.shared;
        let (clients, running) = (executions.metrics.clients(), executions.metrics.executions_running());
        let (waiting, interpreter) = (executions.queue.waiting(), self.interpreter().await);
        format!("clients: {clients}, running: {running}, waiting: {waiting}, interpreter: {interpreter}")
    }

    /// Returns when the status may be another one.
    pub async fn status_changed(&self) {
        self.shared.executions.metrics.changed.notified().await;
    }

    /// The name of the interpreter that the next call goes to.
    pub async fn interpreter(&self) -> String {
        self.shared.executions.api().current().await.to_owned()
    }
}
