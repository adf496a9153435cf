//! The tool `execute_python_code`.

mod arguments;
mod description;
mod result;

use std::sync::Arc;
use std::time::Duration;

use python_interpreter::wire::ExecuteRequest;
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, JsonObject, ToolAnnotations};
use serde_json::{Value, json};

use super::icon::icon;
use super::interface::Tool;
use crate::interpreter::{Capabilities, Execution};
use crate::pictures::Shown;

pub const NAME: &str = "execute_python_code";
const TITLE: &str = "Execute Python code";

pub struct ExecutePythonCode;

impl Tool for ExecutePythonCode {
    fn name(&self) -> &'static str {
        NAME
    }

    fn definition(&self, capabilities: Option<&Capabilities>, timeout: Duration) -> rmcp::model::Tool {
        // What programs can reach from a foreign service is unknown.
        let open_world = capabilities.is_none_or(|capabilities| capabilities.network != "none");
        rmcp::model::Tool::new(NAME, description::text(capabilities, timeout), object(input_schema(timeout)))
            .with_title(TITLE)
            .with_icons(vec![icon()])
            .with_raw_output_schema(object(output_schema()))
            .with_annotations(
                ToolAnnotations::new().read_only(false).destructive(false).idempotent(false).open_world(open_world),
            )
    }

    fn request(&self, arguments: Option<JsonObject>, timeout: Duration) -> Result<ExecuteRequest, ErrorData> {
        arguments::request(arguments, timeout)
    }

    fn result(&self, execution: Execution, shown: Shown) -> CallToolResult {
        result::result(execution, shown)
    }
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
                    "The program is stopped after this many seconds. What it printed until then is returned. Default and maximum: {} s.",
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
