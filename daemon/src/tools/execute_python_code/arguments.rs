//! The tool's arguments: what is wrong with them is said by name, before anything runs.

use std::collections::BTreeMap;
use std::time::Duration;

use python_interpreter::wire::{ExecuteRequest, below_workspace, is_file_id};
use rmcp::ErrorData;
use rmcp::model::JsonObject;
use serde_json::Value;

use crate::resources::FileUri;

/// The longest program that is taken.
const MAX_SOURCE_CODE_BYTES: usize = 4 * 1024 * 1024;
/// How much of a wrong value is repeated, in characters.
const MAX_SHOWN_CHARACTERS: usize = 100;

/// Reads the tool's arguments; no program may take longer than `longest`. Arguments that it does not know are ignored, as JSON Schema
/// has it by default, and null counts as absent where absence is allowed.
pub fn request(arguments: Option<JsonObject>, longest: Duration) -> Result<ExecuteRequest, ErrorData> {
    let mut arguments = arguments.unwrap_or_default();
    let source_code = match arguments.remove("source_code") {
        Some(Value::String(source_code)) => source_code,
        Some(other) => return Err(invalid(format!("source_code must be a string, not {}.", kind(&other)))),
        None => return Err(invalid("source_code is missing: it holds the Python program to run.")),
    };
    if source_code.len() > MAX_SOURCE_CODE_BYTES {
        let (length, limit) = (source_code.len(), MAX_SOURCE_CODE_BYTES >> 20);
        return Err(invalid(format!("source_code has {length} bytes; the limit is {limit} MiB.")));
    }
    let timeout_seconds = timeout(arguments.remove("timeout_seconds"), longest)?;
    let env = texts("env", arguments.remove("env"))?;
    let is_wrong =
        |(name, value): &(&String, &String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    if let Some((name, _)) = env.iter().find(is_wrong) {
        return Err(invalid(format!(
            "env has {}, which is not a valid environment variable: a name is not empty and has no '=', and neither name nor value has a NUL.",
            shown(name)
        )));
    }
    let mut files = BTreeMap::new();
    for (path, reference) in texts("files", arguments.remove("files"))? {
        if below_workspace(&path).is_none() {
            return Err(invalid(format!(
                "files has {}, which is not an absolute path below /workspace.",
                shown(&path)
            )));
        }
        let id = if is_file_id(&reference) { Ok(reference) } else { id_of(&reference) };
        let id = id.map_err(|reason| invalid(format!("files[{}] {reason}", shown(&path))))?;
        files.insert(path, id);
    }
    Ok(ExecuteRequest { source_code, files, env, timeout_seconds, output_characters: None })
}

fn timeout(value: Option<Value>, longest: Duration) -> Result<Option<f64>, ErrorData> {
    let longest = longest.as_secs_f64();
    let seconds = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(other) => return Err(invalid(format!("timeout_seconds must be a number, not {}.", kind(&other)))),
    };
    match seconds {
        Some(seconds) if seconds > 0.0 && seconds <= longest => Ok(Some(seconds)),
        _ => Err(invalid(format!(
            "timeout_seconds must be more than 0 and at most {longest}, the longest time that a program may run."
        ))),
    }
}

/// An object whose values are strings.
fn texts(name: &str, value: Option<Value>) -> Result<BTreeMap<String, String>, ErrorData> {
    let object = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(object)) => object,
        Some(other) => return Err(invalid(format!("{name} must be an object, not {}.", kind(&other)))),
    };
    let text = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, text)),
        other => Err(invalid(format!("{name}[{}] must be a string, not {}.", shown(&key), kind(&other)))),
    };
    object.into_iter().map(text).collect()
}

/// The id in a resource URI, which means the whole file.
fn id_of(reference: &str) -> Result<String, String> {
    match reference.parse::<FileUri>() {
        Ok(uri) if uri.is_part() => Err("is a part of a file, and only whole files can be given.".to_owned()),
        Ok(uri) => Ok(uri.id),
        Err(_) => Err(format!(
            "is {}, which is neither a file id nor a resource URI from an earlier result.",
            shown(reference)
        )),
    }
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(MAX_SHOWN_CHARACTERS).collect::<String>())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(300);

    fn taken(arguments: Value) -> ExecuteRequest {
        request(arguments.as_object().cloned(), LONGEST).unwrap()
    }

    fn refusal(arguments: Value) -> String {
        let error = request(arguments.as_object().cloned(), LONGEST).unwrap_err();
        assert_eq!(error.code.0, -32602);
        error.message.into_owned()
    }

    fn refusal_of(name: &str, value: Value) -> String {
        refusal(json!({ "source_code": "1", name: value }))
    }

    #[test]
    fn a_source_code_that_cannot_be_run_is_refused_by_name() {
        assert!(request(None, LONGEST).unwrap_err().message.contains("source_code is missing"));
        assert!(refusal(json!({})).contains("source_code is missing"));
        assert!(refusal(json!({"source_code": null})).contains("source_code must be a string, not null"));
        assert!(refusal(json!({"source_code": 5})).contains("source_code must be a string, not a number"));
        assert!(refusal(json!({"source_code": "#".repeat(MAX_SOURCE_CODE_BYTES + 1)})).contains("the limit is 4 MiB"));
    }

    #[test]
    fn a_time_limit_is_a_positive_number_within_the_longest() {
        for (value, expected) in [(json!(5), 5.0), (json!(0.5), 0.5), (json!(300), 300.0)] {
            assert_eq!(taken(json!({"source_code": "1", "timeout_seconds": value})).timeout_seconds, Some(expected));
        }
        assert_eq!(taken(json!({"source_code": "1", "timeout_seconds": null})).timeout_seconds, None);
        for wrong in [json!(0), json!(-1), json!(1e9), json!(300.1)] {
            assert!(refusal_of("timeout_seconds", wrong.clone()).contains("at most 300"), "{wrong}");
        }
        assert!(refusal_of("timeout_seconds", json!("5")).contains("timeout_seconds must be a number, not a string"));
    }

    #[test]
    fn files_are_named_by_id_or_uri() {
        let uri = "python-interpreter://files/abc/x.csv";
        let request = taken(json!({"source_code": "1", "files": {"/workspace/a": "id", "/workspace/b/c": uri}}));
        assert_eq!(
            request.files.into_iter().collect::<Vec<_>>(),
            [("/workspace/a".to_owned(), "id".to_owned()), ("/workspace/b/c".to_owned(), "abc".to_owned())]
        );
        assert!(refusal_of("files", json!([])).contains("files must be an object, not an array"));
        assert!(refusal_of("files", json!({"/workspace/a": 1})).contains("files[\"/workspace/a\"] must be a string"));
        for path in ["a", "/etc/passwd", "/workspace/../a", "/workspace/"] {
            assert!(
                refusal_of("files", json!({path: "id"})).contains("not an absolute path below /workspace"),
                "{path}"
            );
        }
        for reference in ["", "a b", "file:///etc/passwd", "../x"] {
            assert!(
                refusal_of("files", json!({"/workspace/a": reference})).contains("neither a file id"),
                "{reference}"
            );
        }
        assert!(refusal_of("files", json!({"/workspace/a": format!("{uri}?length=1")})).contains("a part of a file"));
    }

    #[test]
    fn environment_variables_are_texts_with_names() {
        assert_eq!(taken(json!({"source_code": "1", "env": {"A": "b=c"}})).env["A"], "b=c");
        assert!(refusal_of("env", json!("A=b")).contains("env must be an object, not a string"));
        assert!(refusal_of("env", json!({"A": 1})).contains("env[\"A\"] must be a string, not a number"));
        for (name, value) in [("", "x"), ("A=B", "x"), ("A", "x\0")] {
            assert!(refusal_of("env", json!({name: value})).contains("not a valid environment variable"), "{name}");
        }
    }

    #[test]
    fn arguments_that_the_tool_does_not_know_are_ignored() {
        assert_eq!(taken(json!({"source_code": "1", "language": "python"})).source_code, "1");
    }
}
