//! The tool `execute_python_code`: what clients are told about it, how its arguments become an execution, and how what
//! became of it is shown. It runs nothing itself.

mod arguments;
mod description;
mod result;

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{Icon, JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use crate::interpreter_api::Capabilities;
pub use arguments::request;
pub use result::{PictureTurns, Shown, result};

pub const NAME: &str = "execute_python_code";
const TITLE: &str = "Execute Python code";
/// How much of stdout and stderr together a result holds where the client does not say otherwise, in characters. Clients cut what is
/// much longer, and then without saying what is missing.
pub const OUTPUT_CHARACTERS: usize = 30_000;
/// The key in a call's `_meta` by which a client asks for more: a number of characters.
pub const OUTPUT_KEY: &str = "python-interpreter-mcp/outputCharacters";
/// The key in a call's `_meta` by which a client asks for the output as it comes, and in that of the notifications that bring it: an
/// object with `stdout` or `stderr`.
pub const LIVE_KEY: &str = "python-interpreter-mcp/output";
/// The key in a result's `_meta` that names the interpreter it came from.
pub const INTERPRETER_KEY: &str = "python-interpreter-mcp/interpreter";
/// A prompt, drawn for this program.
const ICON: &str = include_str!("execute_python_code/icon.svg");

/// What clients are told: of what the interpreter can do if it has said so, and of the longest time of a program.
pub fn definition(capabilities: Option<&Capabilities>, timeout: Duration) -> Tool {
    // Of a service nobody knows what its programs reach.
    let open_world = capabilities.is_none_or(|capabilities| capabilities.network != "none");
    Tool::new(NAME, description::text(capabilities, timeout), object(input_schema(timeout)))
        .with_title(TITLE)
        .with_icons(vec![icon()])
        .with_raw_output_schema(object(output_schema()))
        .with_annotations(
            ToolAnnotations::new().read_only(false).destructive(false).idempotent(false).open_world(open_world),
        )
}

pub fn icon() -> Icon {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(ICON.trim());
    Icon::new(format!("data:image/svg+xml;base64,{data}"))
        .with_mime_type("image/svg+xml")
        .with_sizes(vec!["any".to_owned()])
}

fn input_schema(timeout: Duration) -> Value {
    json!({
        "type": "object",
        "properties": {
            "source_code": {
                "type": "string",
                "description": "The Python program to run, as it would stand in a file.",
            },
            "files": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Files from earlier results that the program finds: absolute path below /workspace to file id \
                    (a value of `files` in the earlier result) or resource URI.",
            },
            "timeout_seconds": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": timeout.as_secs_f64(),
                "description": format!(
                    "When to stop the program. What it printed by then is returned. Default and maximum: {} s.",
                    timeout.as_secs_f64()
                ),
            },
            "env": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Environment variables for the program.",
            },
        },
        "required": ["source_code"],
    })
}

fn output_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "exit_code": {
                "type": "integer",
                "description": "0, or 1 after an exception, the argument of sys.exit(), 128 + n after signal n, 124 after \
                    a timeout.",
            },
            "files": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "The files that the program made or changed: absolute path to file id.",
            },
            "stderr": {
                "type": "string",
                "description": "What the program wrote to standard error, tracebacks among it, or why it could not be run.",
            },
            "stdout": { "type": "string", "description": "What the program wrote to standard output." },
        },
        "required": ["exit_code", "files", "stderr", "stdout"],
    })
}

fn object(schema: Value) -> Arc<JsonObject> {
    Arc::new(match schema {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    })
}
