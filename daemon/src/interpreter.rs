//! Where programs run: one [`Interpreter`](interface::Interpreter) for each kind there is, and [`Interpreters`], which sends each call to one of them.

mod settings;
mod url;

mod capabilities;
mod context;
mod execution;
mod failure;
mod files;
mod last_line;

mod client;

mod interface;

mod embedded;
mod foreign;

mod choice;
mod detect;

pub use capabilities::{Capabilities, Slots};
pub use choice::{Chosen, Interpreters};
pub use context::{CallContext, Trace};
pub use detect::{Listening, listening};
pub use execution::{Execution, ExecutionOutcome};
#[cfg(test)]
pub use files::Reading;
pub use files::{FileError, FileSource, Part};
pub use settings::Settings;
pub use url::ServiceUrl;
