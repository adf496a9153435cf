//! The settings of `serve`, as a tree of each module's own. Each has one field, one default and one line of text, there.

use crate::{http, interpreter_api, sessions, tasks};

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    #[command(flatten)]
    pub interpreter: interpreter_api::Settings,

    #[command(flatten)]
    pub sessions: sessions::Settings,

    #[command(flatten)]
    pub http: http::Settings,

    #[command(flatten)]
    pub tasks: tasks::Settings,
}
