//! The settings of `serve`: those of each module, flattened. A setting is one field with its help text and its default. Flags override
//! environment variables, which override the configuration file.

mod example;
mod file;
mod layer;

use crate::{http, interpreter, logging, sessions, tasks};

pub use example::{example, toml};
pub use file::{ConfigError, File, path, read, read_at};
pub use layer::{TomlType, layered, settings, source};

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    #[command(flatten)]
    pub interpreter: interpreter::Settings,

    #[command(flatten)]
    pub sessions: sessions::Settings,

    #[command(flatten)]
    pub http: http::Settings,

    #[command(flatten)]
    pub tasks: tasks::Settings,

    #[command(flatten)]
    pub logging: logging::Settings,
}
