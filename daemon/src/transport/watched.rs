//! Tasks that a subscription watches. rmcp's filter of `subscriptions/listen` has no field for them yet, so they pass through rmcp in the
//! request's `_meta`, and are added to the acknowledgment on the way out.

use rmcp::model::RequestMetaObject;
use serde_json::{Value, json};

/// The key in a listen request's `_meta`.
const TASK_IDS: &str = "python-interpreter-mcp/taskIds";
const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// The most tasks of one subscription. Further ones are not acknowledged.
const MAX_TASKS: usize = 256;

/// The id, the message and the data of a refusal.
type Refused = (Option<Value>, &'static str, Option<Value>);

/// Moves `taskIds` of a listen request into `_meta`. Only a client that supports tasks may send them.
pub fn keep_tasks(message: &mut Value) -> Result<(), Refused> {
    if message.get("method").and_then(Value::as_str) != Some("subscriptions/listen") {
        return Ok(());
    }
    if let Some(Value::Object(meta)) = message.pointer_mut("/params/_meta") {
        // A client must not set our key itself.
        meta.remove(TASK_IDS);
    }
    let Some(Value::Array(asked)) = message.pointer("/params/notifications/taskIds") else { return Ok(()) };
    let mut ids: Vec<Value> = Vec::new();
    for id in asked.iter().filter(|id| id.is_string()).take(MAX_TASKS) {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    let meta = message.pointer("/params/_meta").and_then(Value::as_object);
    let capabilities = meta.and_then(|meta| meta.get(CAPABILITIES));
    if capabilities.is_none_or(|capabilities| capabilities["extensions"].get(EXTENSION).is_none()) {
        let data = json!({ "requiredCapabilities": { "extensions": { EXTENSION: {} } } });
        return Err((
            message.get("id").cloned(),
            "Tasks can be watched only by clients that declare them.",
            Some(data),
        ));
    }
    message["params"]["_meta"][TASK_IDS] = Value::Array(ids);
    Ok(())
}

/// The task ids of a listen request.
pub fn task_ids(meta: &RequestMetaObject) -> Vec<String> {
    let ids = meta.get(TASK_IDS).and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(capabilities: Value, ids: Value) -> Value {
        json!({"id": 1, "method": "subscriptions/listen", "params": {
            "_meta": {CAPABILITIES: capabilities}, "notifications": {"taskIds": ids}}})
    }

    #[test]
    fn tasks_are_kept_for_clients_that_know_them() {
        let mut message = listen(json!({"extensions": {EXTENSION: {}}}), json!(["a", 1, "b", "a"]));
        message["params"]["_meta"][TASK_IDS] = json!(["sent by a client"]);
        keep_tasks(&mut message).unwrap();
        assert_eq!(message["params"]["_meta"][TASK_IDS], json!(["a", "b"]));
        let (id, _, data) = keep_tasks(&mut listen(json!({}), json!(["a"]))).unwrap_err();
        assert_eq!((id, &data.unwrap()["requiredCapabilities"]["extensions"][EXTENSION]), (Some(json!(1)), &json!({})));
    }

    #[test]
    fn other_messages_pass_as_they_are() {
        for message in [json!([]), json!({"method": "tools/list"}), json!({"method": "subscriptions/listen"})] {
            let mut same = message.clone();
            keep_tasks(&mut same).unwrap();
            assert_eq!(same, message);
        }
    }
}
