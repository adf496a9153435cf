//! What became of a call, as clients get it: structured, the same once more as text for those that read only that, then pictures and
//! links to files.

use std::sync::Arc;

use python_interpreter::wire::ExecuteResponse;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, MetaObject};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::INTERPRETER_KEY;
use crate::interpreter_api::{Execution, FileSource, Outcome};
use crate::pictures::{self, NotShown, Picture};
use crate::resources;

/// What all pictures of a result may take together, in bytes of base64: clients refuse messages that are much larger.
const PICTURE_BYTES: usize = 1024 * 1024;
const MAX_PICTURES: usize = 10;
/// The largest file that is looked at as a picture.
const MAX_PICTURE_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// Pictures that are not shown, by name; of more it is said how many there are.
const MAX_NAMED: usize = 5;
/// Files that are linked; `files` names all of them.
const MAX_LINKS: usize = 100;

/// What a result shows of the files beside their ids.
#[derive(Debug, Default)]
pub struct Shown {
    pictures: Vec<Picture>,
    /// What is not shown and why, a line each.
    omitted: Vec<String>,
}

impl Shown {
    /// Reads the pictures among the files, as many as fit.
    pub async fn of(execution: &Execution, files: &dyn FileSource, turns: &Arc<Semaphore>) -> Self {
        let mut shown = Self::default();
        if !execution.has_files {
            return shown;
        }
        let mut candidates: Vec<_> =
            execution.response.files.iter().filter(|(path, _)| pictures::may_be_picture(path)).collect();
        candidates.sort_by(|(first, _), (second, _)| pictures::in_order(first, second));
        let too_many = candidates.split_off(candidates.len().min(MAX_PICTURES));
        let mut omitted = Vec::new();
        let mut room = PICTURE_BYTES;
        for (place, (path, id)) in candidates.iter().enumerate() {
            // One at a time for all clients, because each takes much memory; and what has begun keeps its turn to its end, although its
            // caller may have left.
            let Ok(turn) = turns.clone().acquire_owned().await else { continue };
            let Ok(part) = files.read(id, 0, MAX_PICTURE_FILE_BYTES).await else { continue };
            if part.total > MAX_PICTURE_FILE_BYTES {
                omitted.push(format!("{path}: {} bytes are too many", part.total));
                continue;
            }
            // Each has at least its share; what one leaves is for those that follow.
            let share = room / (candidates.len() - place);
            let fit = move || {
                let _turn = turn;
                pictures::fit(&part.bytes, share)
            };
            let fitted = tokio::task::spawn_blocking(fit).await;
            match fitted {
                Ok(Ok(picture)) => {
                    room -= picture.base64.len();
                    shown.pictures.push(picture);
                }
                // Only its name was one of a picture.
                Ok(Err(NotShown::NoPicture)) => {}
                Ok(Err(reason)) => omitted.push(format!("{path}: {reason}")),
                Err(_) => omitted.push(format!("{path}: it cannot be decoded")),
            }
        }
        omitted.extend(too_many.iter().map(|(path, _)| format!("{path}: a result shows {MAX_PICTURES}")));
        let untold = omitted.len().saturating_sub(MAX_NAMED);
        omitted.truncate(MAX_NAMED);
        shown.omitted = omitted.into_iter().map(|line| format!("Picture not shown: {line}")).collect();
        if untold > 0 {
            shown.omitted.push(format!("Picture not shown: and {untold} more"));
        }
        shown
    }
}

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
    result.is_error = Some(outcome != Outcome::Finished);
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
        Execution { response, outcome: Outcome::Finished, interpreter: "embedded".to_owned(), has_files, error: None }
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
