//! The tool `execute_python_code`: what clients are told about it, how its arguments become an execution, and how what
//! became of it is shown. It runs nothing itself.

use std::sync::Arc;

use python_interpreter::wire::{ExecuteRequest, ExecuteResponse};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, MetaObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use crate::interpreter_api::{Execution, Outcome};

pub const NAME: &str = "execute_python_code";
const TITLE: &str = "Execute Python code";
const DESCRIPTION: &str = "Run Python code in an isolated, fresh environment and return what it printed. Use it to \
    calculate, to process or analyse data and text, and to check code by running it. Each call starts anew: no variables, \
    imports or files are left from earlier calls. Only what is printed comes back, so print() every result you want to \
    see. The working directory is /workspace; files written there are returned as a map from path to file id. An uncaught \
    exception gives its traceback in stderr and exit_code 1.";
/// The longest program that is taken.
const MAX_SOURCE_CODE_BYTES: usize = 4 * 1024 * 1024;
/// The key in a result's `_meta` that names the interpreter it came from.
pub const INTERPRETER_KEY: &str = "python-interpreter-mcp/interpreter";

pub fn definition() -> Tool {
    Tool::new(NAME, DESCRIPTION, object(input_schema()))
        .with_title(TITLE)
        .with_raw_output_schema(object(output_schema()))
        .with_annotations(
            ToolAnnotations::new().read_only(false).destructive(false).idempotent(false).open_world(false),
        )
}

fn input_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "source_code": {
                "type": "string",
                "description": "The Python program to run, as it would stand in a file.",
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

/// Reads the tool's arguments. Arguments that it does not know are ignored, as JSON Schema has it by default.
pub fn request(arguments: Option<JsonObject>) -> Result<ExecuteRequest, ErrorData> {
    let mut arguments = arguments.unwrap_or_default();
    let source_code = match arguments.remove("source_code") {
        Some(Value::String(source_code)) => source_code,
        Some(other) => return Err(invalid(format!("source_code is a string, not {}.", kind(&other)))),
        None => return Err(invalid("source_code is missing: it holds the Python program to run.")),
    };
    if source_code.len() > MAX_SOURCE_CODE_BYTES {
        let (length, limit) = (source_code.len(), MAX_SOURCE_CODE_BYTES >> 20);
        return Err(invalid(format!("source_code has {length} bytes; the limit is {limit} MiB.")));
    }
    Ok(ExecuteRequest { source_code, ..ExecuteRequest::default() })
}

fn invalid(message: impl Into<String>) -> ErrorData {
    ErrorData::invalid_params(message.into(), None)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The result as clients get it: structured, and the same once more as text for those that read only that.
pub fn result(execution: Execution) -> CallToolResult {
    let Execution { response, outcome, interpreter } = execution;
    let ExecuteResponse { exit_code, files, stderr, stdout } = response;
    let structured = json!({"exit_code": exit_code, "files": files, "stderr": stderr, "stdout": stdout});
    let mut result = CallToolResult::success(vec![ContentBlock::text(structured.to_string())]);
    result.structured_content = Some(structured);
    result.is_error = Some(outcome != Outcome::Finished);
    let mut meta = MetaObject::new();
    meta.insert(INTERPRETER_KEY.to_owned(), Value::String(interpreter));
    result.meta = Some(meta);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: Value) -> String {
        let arguments = arguments.as_object().cloned();
        let error = request(arguments).unwrap_err();
        assert_eq!(error.code.0, -32602);
        error.message.into_owned()
    }

    #[test]
    fn a_source_code_that_cannot_be_run_is_refused_by_name() {
        assert!(request(None).unwrap_err().message.contains("source_code is missing"));
        assert!(refusal(json!({})).contains("source_code is missing"));
        assert!(refusal(json!({"source_code": null})).contains("source_code is a string, not null"));
        assert!(refusal(json!({"source_code": 5})).contains("source_code is a string, not a number"));
        assert!(refusal(json!({"source_code": "#".repeat(MAX_SOURCE_CODE_BYTES + 1)})).contains("the limit is 4 MiB"));
    }

    #[test]
    fn arguments_that_the_tool_does_not_know_are_ignored() {
        let arguments = json!({"source_code": "1", "language": "python"}).as_object().cloned();
        assert_eq!(request(arguments).unwrap().source_code, "1");
    }

    #[test]
    fn a_result_has_exactly_the_four_fields_twice() {
        let response = ExecuteResponse { exit_code: 3, stdout: "a\u{0}".to_owned(), ..ExecuteResponse::default() };
        let execution = Execution { response, outcome: Outcome::Finished, interpreter: "embedded".to_owned() };
        let result = serde_json::to_value(result(execution)).unwrap();
        let expected = json!({"exit_code": 3, "files": {}, "stderr": "", "stdout": "a\u{0}"});
        assert_eq!(result["structuredContent"], expected);
        assert_eq!(result["content"][0]["text"], expected.to_string());
        assert_eq!(result["content"].as_array().unwrap().len(), 1);
        assert_eq!(result["isError"], false);
        assert_eq!(result["_meta"][INTERPRETER_KEY], "embedded");
    }
}
