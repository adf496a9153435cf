//! The tool as it is described now. What the interpreter can do is asked when a client arrives, in the background: nobody's first words
//! wait for Python.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rmcp::model::Tool;
use tokio::sync::watch;

use super::executions::Executions;
use crate::tools::execute_python_code;

/// How long what the interpreter said holds; it changes when the user installs something, or starts another interpreter.
const HOLDS: Duration = Duration::from_secs(30);
/// How long after a change of the settings the interpreter is asked.
const RENEWAL: Duration = Duration::from_millis(500);
/// How long the first list of tools waits for the interpreter's word. Clients wait for ten seconds and more.
const PATIENCE: Duration = Duration::from_secs(4);

pub struct Described {
    executions: Arc<Executions>,
    tool: watch::Sender<Arc<Tool>>,
    /// Whether the interpreter has been asked, whatever came of it.
    known: watch::Sender<bool>,
    asked: Mutex<Option<Instant>>,
}

impl Described {
    pub fn new(executions: Arc<Executions>) -> Arc<Self> {
        let tool = Arc::new(execute_python_code::definition(None, executions.api().timeout));
        let (tool, known) = (watch::channel(tool).0, watch::channel(false).0);
        Arc::new(Self { executions, tool, known, asked: Mutex::new(None) })
    }

    /// Asks anew, because the settings have changed: once the interpreter has had time to read its own.
    pub fn renew(self: &Arc<Self>) {
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RENEWAL).await;
            *this.asked() = None;
            this.refresh();
        });
    }

    /// Asks the interpreter what it can do, if that was not done lately.
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
            let api = this.executions.api();
            let capabilities = api.capabilities().await;
            // The settings may have changed meanwhile, and then this is not the last word.
            let tool = execute_python_code::definition(capabilities.as_ref(), this.executions.api().timeout);
            this.tool.send_if_modified(|known| {
                let changed = **known != tool;
                if changed {
                    *known = Arc::new(tool);
                }
                changed
            });
            this.known.send_replace(true);
        });
    }

    fn asked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Arc<Tool> {
        self.tool.borrow().clone()
    }

    /// The tool once the interpreter has said what it can do, or has had its time to.
    pub async fn known(&self) -> Arc<Tool> {
        let mut known = self.known.subscribe();
        let _ = tokio::time::timeout(PATIENCE, known.wait_for(|known| *known)).await;
        self.now()
    }

    /// Told of each change of the description.
    pub fn changes(&self) -> watch::Receiver<Arc<Tool>> {
        self.tool.subscribe()
    }
}
