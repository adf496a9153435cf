//! Counts what programs have imported, in moments without a call: looks names up in a slot, and writes what has changed.

use std::sync::Arc;

use crate::learning::Learning;
use crate::pool::Pool;
use crate::probe;

/// Does nothing if it is under way already.
pub async fn count(pool: Arc<Pool>, learning: Arc<Learning>) {
    let Ok(_only_one) = learning.counting.try_lock() else { return };
    if let Some(unknown) = learning.unknown()
        && let Some(workshop) = pool.current()
    {
        let found = match unknown.is_empty() {
            true => Ok(Default::default()),
            false => probe::modules(&workshop.spawner, &unknown).await,
        };
        match found {
            Ok(found) => learning.count(&unknown, &found, &workshop.anyway),
            Err(error) => {
                tracing::debug!(%error, "cannot look up which modules are installed");
                learning.not_now();
            }
        }
    }
    learning.clone().write().await;
}
