//! The executions that run or wait for their turn. Each can be ended by its id and then still answers, with what its program printed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub struct Running {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    begun: u64,
    /// No further one is to run.
    all_end: bool,
    by_number: HashMap<u64, (Option<String>, CancellationToken)>,
}

impl Running {
    /// Counts an execution as running until the entry is dropped. `id` is what its caller names it.
    pub fn enter(self: &Arc<Self>, id: Option<&str>) -> Entry {
        let end = CancellationToken::new();
        let mut entries = self.entries();
        if entries.all_end {
            end.cancel();
        }
        entries.begun += 1;
        let number = entries.begun;
        entries.by_number.insert(number, (id.map(str::to_owned), end.clone()));
        drop(entries);
        Entry { running: self.clone(), number, end }
    }

    /// Ends the executions with this id. False if there is none.
    pub fn end(&self, id: &str) -> bool {
        let entries = self.entries();
        let named = entries.by_number.values().filter(|(name, _)| name.as_deref() == Some(id));
        named.inspect(|(_, end)| end.cancel()).count() > 0
    }

    /// Ends all executions, and those that come later.
    pub fn end_all(&self) {
        let mut entries = self.entries();
        entries.all_end = true;
        entries.by_number.values().for_each(|(_, end)| end.cancel());
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One execution's place among those that run.
pub struct Entry {
    running: Arc<Running>,
    number: u64,
    /// Cancelled when the execution is to end.
    pub end: CancellationToken,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.entries().by_number.remove(&self.number);
    }
}
