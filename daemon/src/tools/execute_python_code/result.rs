//! What became of a call, as clients get it: structured, the same once more as text for those that read only that, then pictures and
//! links to files.

use python_interpreter::wire::ExecuteResponse;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, MetaObject};
use serde_json::Value;

use crate::interpreter::{Execution, ExecutionOutcome};
use crate::pictures::Shown;
use crate::resources;
use crate::tools::interface::INTERPRETER_KEY;

/// Files that are linked; `files` names all of them.
const MAX_LINKS: usize = 100;

pub fn result(execution: Execution, shown: Shown) -> CallToolResult {
    let Execution { response, outcome, interpreter, has_files, .. } = execution;
    let ExecuteResponse { exit_code, files, mut stderr, stdout } = response;
    for line in shown.omitted {
        if !stderr.is_empty() && !stderr.ends_with('\n') {
            stderr.push('\n');
        }
        stderr.push_str(&line);
        stderr.push('\n');
    }
    let links: Vec<_> = files
        .iter()
        .filter(|_| has_files)
        .take(MAX_LINKS)
        .map(|(path, id)| ContentBlock::resource_link(resources::link(path, id)))
        .collect();
    let files: JsonObject = files.into_iter().map(|(path, id)| (path, id.into())).collect();
    // Not `json!`, which would copy what was printed.
    let mut structured = JsonObject::new();
    for (name, value) in
        [("exit_code", exit_code.into()), ("files", files.into()), ("stderr", stderr.into()), ("stdout", stdout.into())]
    {
        structured.insert(name.to_owned(), value);
    }
    let structured = Value::Object(structured);
    // What is made of texts and numbers is always JSON.
    let mut content = vec![ContentBlock::text(serde_json::to_string(&structured).unwrap_or_default())];
    content.extend(shown.pictures.into_iter().map(|picture| ContentBlock::image(picture.base64, picture.mime_type)));
    content.extend(links);
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(structured);
    result.is_error = Some(outcome != ExecutionOutcome::Finished);
    let mut meta = MetaObject::new();
    meta.insert(INTERPRETER_KEY.to_owned(), Value::String(interpreter));
    result.meta = Some(meta);
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn execution(response: ExecuteResponse, has_files: bool) -> Execution {
        Execution {
            response,
            outcome: ExecutionOutcome::Finished,
            interpreter: "embedded".to_owned(),
            has_files,
            error: None,
        }
    }

    fn shown(execution: Execution) -> Value {
        serde_json::to_value(result(execution, Shown::default())).unwrap()
    }

    #[test]
    fn a_result_has_exactly_the_four_fields_twice() {
        let response = ExecuteResponse { exit_code: 3, stdout: "a\u{0}".to_owned(), ..ExecuteResponse::default() };
        let result = shown(execution(response, true));
        let expected = json!({"exit_code": 3, "files": {}, "stderr": "", "stdout": "a\u{0}"});
        assert_eq!(result["structuredContent"], expected);
        assert_eq!(result["content"][0]["text"], expected.to_string());
        assert_eq!(result["content"].as_array().unwrap().len(), 1);
        assert_eq!(result["isError"], false);
        assert_eq!(result["_meta"][INTERPRETER_KEY], "embedded");
    }

    #[test]
    fn a_file_is_linked_where_it_can_be_read() {
        let files = [("/workspace/a b.csv".to_owned(), "id".to_owned())].into();
        let response = ExecuteResponse { files, ..ExecuteResponse::default() };
        let link = &shown(execution(response.clone(), true))["content"][1];
        assert_eq!(
            (&link["type"], &link["uri"]),
            (&json!("resource_link"), &json!("python-interpreter://files/id/a%20b.csv"))
        );
        assert_eq!(
            (&link["name"], &link["title"], &link["mimeType"]),
            (&json!("a b.csv"), &json!("/workspace/a b.csv"), &json!("text/csv"))
        );
        let without = shown(execution(response, false));
        assert_eq!(
            (
                without["content"].as_array().unwrap().len(),
                &without["structuredContent"]["files"]["/workspace/a b.csv"]
            ),
            (1, &json!("id"))
        );
    }
}
