//! The settings of `serve`, as a tree of each module's own. Each has one field, one default and one line of text, there. Below flags and
//! environment lies the configuration file.

mod example;
mod file;
mod layer;

use crate::{http, interpreter, logging, sessions, tasks};

pub use example::{example, toml};
pub use file::{File, path, read, read_at};
pub use layer::{Kind, layered, settings, source};

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
