//! Read-only views of the server for `/metrics`, `/status` and systemd.

use super::{Executions, Server, Shared};
use crate::interpreter::Chosen;
use crate::metrics::{Counted, Now};
use crate::status::{InterpreterReport, OnBoard, Status};

impl Server {
    /// Counts the client until the guard is dropped.
    pub fn count_client(&self) -> (Counted, OnBoard) {
        let Executions { metrics, board, .. } = &*self.shared.executions;
        (metrics.client(), board.guard(self.client.key))
    }

    /// What Prometheus reads.
    pub async fn metrics(&self) -> String {
        let Shared { executions, tasks, .. } = &*self.shared;
        let slots = executions.interpreters().embedded_if_running().await.map(|embedded| embedded.slots);
        executions.metrics.text(Now { waiting: executions.queue.waiting(), tasks: tasks.running(), slots })
    }

    /// What `status` shows.
    pub async fn status(&self) -> Status {
        let Shared { executions, tasks, started_by, .. } = &*self.shared;
        let interpreters = executions.interpreters();
        let embedded = interpreters.embedded_if_running().await;
        let Chosen { interpreter, reason } = interpreters.choose().await;
        let (name, why) = (interpreter.name().to_owned(), reason.to_string());
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            started_by: (*started_by).to_owned(),
            interpreter: InterpreterReport { name, why, embedded },
            running: executions.metrics.executions_running(),
            waiting: executions.queue.waiting(),
            tasks: tasks.running(),
            ..Status::default()
        };
        executions.board.fill(&mut status);
        status
    }

    /// The line that `systemctl status` shows.
    pub async fn status_line(&self) -> String {
        let Shared { executions, .. } = &*self.shared;
        let (clients, running) = (executions.metrics.clients(), executions.metrics.executions_running());
        let (waiting, interpreter) = (executions.queue.waiting(), self.interpreter().await);
        format!("clients: {clients}, running: {running}, waiting: {waiting}, interpreter: {interpreter}")
    }

    /// Returns when the status may have changed.
    pub async fn status_changed(&self) {
        self.shared.executions.metrics.changed.notified().await;
    }

    /// The name of the interpreter that the next call goes to.
    pub async fn interpreter(&self) -> String {
        self.shared.executions.interpreters().choose().await.interpreter.name().to_owned()
    }
}
