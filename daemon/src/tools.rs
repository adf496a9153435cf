//! The tools that clients see: a module for each, and its line in [`TOOLS`].

pub mod execute_python_code;
mod icon;
mod interface;

use rmcp::ErrorData;

use execute_python_code::ExecutePythonCode;
pub use icon::icon;
pub use interface::{INTERPRETER_KEY, OUTPUT_CHARACTERS, OUTPUT_CHARACTERS_KEY, OUTPUT_STREAM_KEY, Tool};

/// Every tool, in the order in which clients see them.
pub const TOOLS: &[&dyn Tool] = &[&ExecutePythonCode];

/// The tool of this name.
pub fn find(name: &str) -> Result<&'static dyn Tool, ErrorData> {
    TOOLS.iter().copied().find(|tool| tool.name() == name).ok_or_else(|| {
        let names: Vec<_> = TOOLS.iter().map(|tool| tool.name()).collect();
        ErrorData::invalid_params(
            format!("There is no tool with this name. The tools are: {}.", names.join(", ")),
            None,
        )
    })
}
