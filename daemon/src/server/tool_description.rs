//! The tools as clients see them now. When a client arrives, the interpreter is asked in the background what it can do, so that no first
//! answer waits for Python.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rmcp::model::Tool;
use tokio::sync::watch;

use super::executions::Executions;
use crate::interpreter::Capabilities;
use crate::tools::TOOLS;

/// How long the interpreter's word holds. It changes when the user installs something, or starts another interpreter.
const HOLDS: Duration = Duration::from_secs(30);
/// How long after a change of the settings the interpreter is asked: it reads its own first.
const RENEWAL: Duration = Duration::from_millis(500);
/// How long the first list of tools waits for the interpreter's word. Clients wait for ten seconds and more.
const PATIENCE: Duration = Duration::from_secs(4);

pub struct ToolDescriptions {
    executions: Arc<Executions>,
    tools: watch::Sender<Arc<[Tool]>>,
    /// The interpreter has been asked and has answered or failed.
    known: watch::Sender<bool>,
    asked: Mutex<Option<Instant>>,
}

impl ToolDescriptions {
    pub fn new(executions: Arc<Executions>) -> Arc<Self> {
        let tools = definitions(None, executions.interpreters().timeout);
        let (tools, known) = (watch::channel(tools).0, watch::channel(false).0);
        Arc::new(Self { executions, tools, known, asked: Mutex::new(None) })
    }

    /// Asks again, because the settings have changed.
    pub fn renew(self: &Arc<Self>) {
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RENEWAL).await;
            *this.asked() = None;
            this.refresh();
        });
    }

    /// Asks the interpreter what it can do, unless it was asked lately.
    pub fn refresh(self: &Arc<Self>) {
        {
            let mut asked = self.asked();
            if asked.is_some_and(|asked| asked.elapsed() < HOLDS) {
                return;
            }
            *asked = Some(Instant::now());
        }
        let this = self.clone();
        tokio::spawn(async move {
            let capabilities = this.executions.interpreters().capabilities().await;
            // The settings may have changed meanwhile: the timeout is the newest.
            let tools = definitions(capabilities.as_ref(), this.executions.interpreters().timeout);
            this.tools.send_if_modified(|known| {
                let changed = *known != tools;
                *known = tools;
                changed
            });
            this.known.send_replace(true);
        });
    }

    fn asked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Arc<[Tool]> {
        self.tools.borrow().clone()
    }

    /// The tools once the interpreter has said what it can do, or after [`PATIENCE`].
    pub async fn known(&self) -> Arc<[Tool]> {
        let mut known = self.known.subscribe();
        let _ = tokio::time::timeout(PATIENCE, known.wait_for(|known| *known)).await;
        self.now()
    }

    /// Notices each change.
    pub fn changes(&self) -> watch::Receiver<Arc<[Tool]>> {
        self.tools.subscribe()
    }
}

fn definitions(capabilities: Option<&Capabilities>, timeout: Duration) -> Arc<[Tool]> {
    TOOLS.iter().map(|tool| tool.definition(capabilities, timeout)).collect()
}
