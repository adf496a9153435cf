//! The settings of calls: which interpreter they go to, how long they may take, how many run at once.

use std::ffi::OsString;
use std::path::PathBuf;

use python_interpreter::limits::ExecutionLimits;

use super::url::ServiceUrl;

/// How many executions run at the same time with a service at a URL, which knows itself what it can run.
const SERVICE_CONCURRENCY: usize = 64;

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// The interpreter service to use [default: a service of yours or root's on port 50081, else the embedded interpreter]
    #[arg(long, value_name = "URL", env = "PYTHON_INTERPRETER_MCP_URL")]
    pub interpreter_url: Option<ServiceUrl>,

    /// The directory in which the interpreter service stores files by id; without it clients cannot read the files of programs there
    #[arg(long, value_name = "DIRECTORY", env = "PYTHON_INTERPRETER_MCP_FILES")]
    pub interpreter_files: Option<PathBuf>,

    #[command(flatten)]
    pub limits: ExecutionLimits,
}

impl Settings {
    /// The flags that the embedded interpreter needs, because these settings differ from `found`, which it reads from the environment and the
    /// file.
    pub fn flags_beyond(&self, found: &Self) -> Vec<OsString> {
        let mut flags = Vec::new();
        if self.limits.timeout != found.limits.timeout {
            flags.extend(["--timeout".into(), self.limits.timeout.as_secs().to_string().into()]);
        }
        if self.concurrency() != found.concurrency() {
            flags.extend(["--concurrency".into(), self.concurrency().to_string().into()]);
        }
        flags
    }

    pub fn concurrency(&self) -> usize {
        match (self.limits.concurrency, &self.interpreter_url) {
            (None, Some(_)) => SERVICE_CONCURRENCY,
            _ => self.limits.concurrency(),
        }
    }
}
