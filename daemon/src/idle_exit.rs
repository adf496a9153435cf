//! When idle processes exit: a setting of the daemon and of the interpreter.

/// A year: a longer time is a mistake.
const MAX_SECONDS: u64 = 365 * 24 * 60 * 60;

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct IdleExit {
    /// How long the daemon stays without clients (only if a client started it), and the interpreter without connections
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PYTHON_INTERPRETER_MCP_IDLE_EXIT",
        default_value = "600",
        value_parser = clap::value_parser!(u64).range(..=MAX_SECONDS)
    )]
    pub idle_exit: u64,
}
