//! Metrics for Prometheus: counts, outcomes and durations of executions. They hold nothing of any program.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;

use crate::interpreter::{ExecutionOutcome, Slots};
use crate::logging::lost_lines;

/// The buckets of durations, in seconds.
const DURATIONS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];
/// The media type of OpenMetrics text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type ByOutcome = Family<[(&'static str, &'static str); 1], Counter>;

pub struct Metrics {
    registry: Registry,
    executions: ByOutcome,
    durations: Histogram,
    refused: Counter,
    cancelled: Counter,
    running: Gauge,
    waiting: Gauge<u64, AtomicU64>,
    clients: Gauge,
    tasks: Gauge<u64, AtomicU64>,
    lost_lines: Gauge<u64, AtomicU64>,
    slots: Family<[(&'static str, &'static str); 1], Gauge<u64, AtomicU64>>,
    /// Notified at each change of clients or executions.
    pub changed: Arc<Notify>,
}

/// What is counted elsewhere and read for each scrape.
pub struct Now {
    pub waiting: usize,
    pub tasks: usize,
    /// The slots of the embedded interpreter, if it runs.
    pub slots: Option<Slots>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("python_interpreter_mcp");
        let (executions, durations) = (ByOutcome::default(), Histogram::new(DURATIONS));
        let (refused, cancelled, running) = (Counter::default(), Counter::default(), Gauge::default());
        let (waiting, clients, tasks, lost_lines, slots) =
            (Gauge::default(), Gauge::default(), Gauge::default(), Gauge::default(), Family::default());
        registry.register("executions", "Executions by outcome", executions.clone());
        registry.register(
            "execution_seconds",
            "How long executions took, waiting for their turn included",
            durations.clone(),
        );
        registry.register(
            "executions_refused",
            "Calls that had no turn, because the interpreter was busy",
            refused.clone(),
        );
        registry.register("executions_cancelled", "Executions that their clients gave up", cancelled.clone());
        registry.register("executions_running", "Executions that run now", running.clone());
        registry.register("executions_waiting", "Calls that wait for their turn", waiting.clone());
        registry.register("clients", "Clients that are connected", clients.clone());
        registry.register("tasks_running", "Executions that have become tasks and run now", tasks.clone());
        registry.register("log_lines_lost", "Lines of the log that nobody took", lost_lines.clone());
        registry.register("slots", "Slots of the embedded interpreter", slots.clone());
        let changed = Arc::default();
        Self {
            registry,
            executions,
            durations,
            refused,
            cancelled,
            running,
            waiting,
            clients,
            tasks,
            lost_lines,
            slots,
            changed,
        }
    }

    pub fn ended(&self, outcome: ExecutionOutcome, duration: Duration) {
        self.executions.get_or_create(&[("outcome", outcome.as_str())]).inc();
        self.durations.observe(duration.as_secs_f64());
    }

    pub fn refused(&self) {
        self.refused.inc();
    }

    pub fn cancelled(&self) {
        self.cancelled.inc();
    }

    /// Counts a running execution until the guard is dropped.
    pub fn running(&self) -> Counted {
        Counted::new(&self.running, &self.changed)
    }

    pub fn client(&self) -> Counted {
        Counted::new(&self.clients, &self.changed)
    }

    pub fn clients(&self) -> i64 {
        self.clients.get()
    }

    pub fn executions_running(&self) -> i64 {
        self.running.get()
    }

    pub fn text(&self, now: Now) -> String {
        self.waiting.set(now.waiting as u64);
        self.tasks.set(now.tasks as u64);
        self.lost_lines.set(lost_lines());
        let slots = now.slots.unwrap_or_default();
        for (state, count) in [("waiting", slots.waiting), ("building", slots.building), ("in_use", slots.in_use)] {
            self.slots.get_or_create(&[("state", state)]).set(count);
        }
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

pub struct Counted {
    gauge: Gauge,
    changed: Arc<Notify>,
}

impl Counted {
    fn new(gauge: &Gauge, changed: &Arc<Notify>) -> Self {
        gauge.inc();
        changed.notify_one();
        Self { gauge: gauge.clone(), changed: changed.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_told_by_name() {
        let metrics = Metrics::new();
        metrics.ended(ExecutionOutcome::Finished, Duration::from_millis(3));
        metrics.ended(ExecutionOutcome::TimedOut, Duration::from_secs(3));
        drop(metrics.running());
        let _client = metrics.client();
        let slots = Some(Slots { waiting: 2, building: 0, in_use: 1 });
        let text = metrics.text(Now { waiting: 4, tasks: 1, slots });
        for line in [
            "python_interpreter_mcp_executions_total{outcome=\"finished\"} 1",
            "python_interpreter_mcp_execution_seconds_bucket{le=\"0.005\"} 1",
            "python_interpreter_mcp_execution_seconds_count 2",
            "python_interpreter_mcp_executions_running 0",
            "python_interpreter_mcp_executions_waiting 4",
            "python_interpreter_mcp_clients 1",
            "python_interpreter_mcp_slots{state=\"waiting\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
