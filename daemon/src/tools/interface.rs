//! What every tool has, and what all results have in common.

use std::time::Duration;

use python_interpreter::wire::ExecuteRequest;
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, JsonObject};

use crate::interpreter::{Capabilities, Execution};
use crate::pictures::Shown;

/// How many characters stdout and stderr have together in a result, unless the client asks for more. Clients cut longer results without
/// saying what is missing.
pub const OUTPUT_CHARACTERS: usize = 30_000;
/// The key in a call's `_meta` with which a client sets another number than [`OUTPUT_CHARACTERS`].
pub const OUTPUT_CHARACTERS_KEY: &str = "python-interpreter-mcp/outputCharacters";
/// The key in a call's `_meta` with which a client asks for the output while the program runs. In the `_meta` of each progress
/// notification it has an object with `stdout` or `stderr`.
pub const OUTPUT_STREAM_KEY: &str = "python-interpreter-mcp/output";
/// The key in a result's `_meta` that names the interpreter.
pub const INTERPRETER_KEY: &str = "python-interpreter-mcp/interpreter";

/// One way of running a program. It runs nothing itself: the server executes the request.
pub trait Tool: Send + Sync {
    fn name(&self) -> &'static str;

    /// What clients are told. `capabilities` are known once the interpreter has said them; `timeout` is the longest time of a program.
    fn definition(&self, capabilities: Option<&Capabilities>, timeout: Duration) -> rmcp::model::Tool;

    /// Turns a call's arguments into a request, or says by name which one is wrong.
    fn request(&self, arguments: Option<JsonObject>, timeout: Duration) -> Result<ExecuteRequest, ErrorData>;

    /// Shapes what the client gets.
    fn result(&self, execution: Execution, shown: Shown) -> CallToolResult;
}
