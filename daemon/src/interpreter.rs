//! Where programs run: one [`Interpreter`] for each kind there is, and [`Interpreters`], which sends each call to one of them.

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

use std::ffi::OsString;

use client::AddressError;
use detect::DETECTED_PORT;
use embedded::{Embedded, EmbeddedError};
use foreign::Foreign;
use interface::Interpreter;

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

#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Service(#[from] AddressError),
}

/// Builds the interpreters that these settings name. `flags` go to the embedded interpreter at its start: they hold what it does not find in
/// the environment and the configuration file.
pub fn interpreters(settings: &Settings, flags: &[OsString]) -> Result<Interpreters, SetUpError> {
    let service: Box<dyn Interpreter> = match &settings.interpreter_url {
        Some(url) => Box::new(Foreign::configured(url.clone(), settings)?),
        None => Box::new(Foreign::detected(DETECTED_PORT, settings)?),
    };
    Ok(Interpreters::new(settings, service, Box::new(Embedded::new(flags)?)))
}
