//! What every kind of interpreter can do.

use std::path::Path;
use std::pin::Pin;

use python_interpreter::wire::ExecuteRequest;

use super::capabilities::Capabilities;
use super::client::Answer;
use super::context::CallContext;
use super::failure::{Failure, Limit};
use super::files::Reading;

pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub trait Interpreter: Send + Sync {
    /// What users know it by: a URL, or "embedded".
    fn name(&self) -> &str;

    /// Runs a program, once, for no longer than `limit`. Dropping the future ends the program.
    fn execute<'a>(
        &'a self,
        request: &'a mut ExecuteRequest,
        limit: Limit,
        context: &'a CallContext,
    ) -> Pending<'a, Result<Answer, Failure>>;

    /// Whether [`Self::read_file`] can succeed.
    fn has_files(&self) -> bool;

    /// Reads up to `length` bytes of a stored file, from `offset` on. `id` has the form of a file id.
    fn read_file<'a>(&'a self, id: &'a str, offset: u64, length: u64) -> Reading<'a>;

    /// What it says it can do. An interpreter that is started when needed is started for this.
    fn capabilities(&self) -> Pending<'_, Option<Capabilities>> {
        Box::pin(async { None })
    }

    /// As [`Self::capabilities`], but only if it runs already.
    fn capabilities_if_running(&self) -> Pending<'_, Option<Capabilities>> {
        Box::pin(async { None })
    }

    /// Makes it read its settings again, if it runs.
    fn reload(&self) -> Pending<'_, ()> {
        Box::pin(async {})
    }

    /// Its log file, which error messages name.
    fn log(&self) -> Option<&Path> {
        None
    }
}
