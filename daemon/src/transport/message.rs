//! Parses a frame as a JSON-RPC message of MCP, or says with which error it is refused.

use python_interpreter_mcp::frame::Id;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode,
    InitializeRequestParams, JsonObject, JsonRpcMessage, NumberOrString, RequestId, RequestMetaObject,
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::watched;

const MAX_REASON_CHARACTERS: usize = 200;
const MISSING_CLIENT_CAPABILITY: ErrorCode = ErrorCode(-32021);

/// The methods whose parameters rmcp checks. If they are wrong, rmcp takes the message for a request of an unknown method, and its answer
/// would be "method not found".
const KNOWN_METHODS: &[&str] = &[
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/update",
    "tools/call",
    "tools/list",
];

#[derive(Debug)]
pub enum Inbound {
    Request(RequestId, Box<ClientRequest>),
    Notification(Box<ClientNotification>),
    /// An empty line, or an answer: this server sends no requests.
    Nothing,
    Refused(Refusal),
}

/// The JSON-RPC error for a frame that is no valid request.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub id: Option<RequestId>,
    pub code: ErrorCode,
    pub message: String,
    pub data: Option<Value>,
}

impl Refusal {
    pub fn new(id: Option<RequestId>, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { id, code, message: message.into(), data: None }
    }

    /// The error as a line. Its id is null if none could be read, as JSON-RPC 2.0 requires.
    pub fn to_line(&self) -> Vec<u8> {
        let mut error = json!({"code": self.code.0, "message": self.message});
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        let mut line = json!({"jsonrpc": "2.0", "id": self.id, "error": error}).to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

/// An id in rmcp's type.
pub fn rmcp_id(id: Id) -> RequestId {
    match id {
        Id::Number(number) => NumberOrString::Number(number),
        Id::String(text) => NumberOrString::String(text.into()),
    }
}

pub fn read(line: &[u8]) -> Inbound {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Inbound::Nothing;
    }
    if let Some((id, call)) = plain_call(line) {
        return Inbound::Request(id, Box::new(call));
    }
    match serde_json::from_slice::<Value>(line) {
        Ok(mut value) => match watched::keep_tasks(&mut value) {
            Ok(()) => classify(value),
            Err((id, message, data)) => {
                let id = id.as_ref().and_then(request_id);
                Inbound::Refused(Refusal { id, code: MISSING_CLIENT_CAPABILITY, message: message.to_owned(), data })
            }
        },
        Err(error) => Inbound::Refused(unreadable(line, &error)),
    }
}

fn classify(value: Value) -> Inbound {
    let Value::Object(object) = &value else {
        let message = match value {
            Value::Array(_) => "Batches are not supported: send one JSON-RPC message a line.",
            _ => "A JSON-RPC message is an object.",
        };
        return refused(None, ErrorCode::INVALID_REQUEST, message);
    };
    let id = match object.get("id") {
        None => None,
        Some(id) => match request_id(id) {
            Some(id) => Some(id),
            None if object.contains_key("method") => {
                let message = format!("A request's id is an integer or a string of up to {} bytes.", Id::MAX_BYTES);
                return refused(None, ErrorCode::INVALID_REQUEST, message);
            }
            None => None,
        },
    };
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return refused(id, ErrorCode::INVALID_REQUEST, "A message has the member \"jsonrpc\" with the value \"2.0\".");
    }
    let answer = object.contains_key("result") || object.contains_key("error");
    let Some(method) = object.get("method") else {
        // This server sends no requests, so an answer is a mistake, and must not be answered itself.
        let nothing = refused(id, ErrorCode::INVALID_REQUEST, "The message has no method.");
        return if answer { Inbound::Nothing } else { nothing };
    };
    let Value::String(method) = method else {
        return refused(id, ErrorCode::INVALID_REQUEST, "A message's method is a string.");
    };
    if answer {
        return refused(id, ErrorCode::INVALID_REQUEST, "A message is a request or an answer, not both.");
    }
    match (ClientJsonRpcMessage::deserialize(&value), id) {
        (Ok(JsonRpcMessage::Request(request)), Some(id)) => match request.request {
            ClientRequest::CustomRequest(_) if KNOWN_METHODS.contains(&method.as_str()) => {
                refused(Some(id), ErrorCode::INVALID_PARAMS, bad_parameters(method, object.get("params")))
            }
            request => Inbound::Request(id, Box::new(request)),
        },
        (Ok(JsonRpcMessage::Notification(notification)), None) => {
            Inbound::Notification(Box::new(notification.notification))
        }
        (_, Some(id)) if KNOWN_METHODS.contains(&method.as_str()) => {
            refused(Some(id), ErrorCode::INVALID_PARAMS, bad_parameters(method, object.get("params")))
        }
        (_, Some(id)) => refused(Some(id), ErrorCode::INVALID_REQUEST, "The message is not a JSON-RPC request."),
        // Notifications are never answered.
        (_, None) => Inbound::Nothing,
    }
}

/// A `tools/call` as nearly all are. rmcp finds the type of a message by trying one after the other. Measured without this parser: a call
/// takes 10 % longer, and the daemon 12 % more CPU time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainCall<'line> {
    jsonrpc: &'line str,
    id: Value,
    method: &'line str,
    params: PlainParameters,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainParameters {
    name: String,
    #[serde(default, deserialize_with = "present")]
    arguments: Option<JsonObject>,
    #[serde(default, rename = "_meta", deserialize_with = "present")]
    meta: Option<JsonObject>,
}

/// Takes an object, but not null.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<JsonObject>, D::Error> {
    JsonObject::deserialize(value).map(Some)
}

/// None for any other message, and for a wrong call, whose error the general parser finds.
fn plain_call(line: &[u8]) -> Option<(RequestId, ClientRequest)> {
    // Of bytes, serde_json would validate each string again.
    let call: PlainCall<'_> = serde_json::from_str(std::str::from_utf8(line).ok()?).ok()?;
    if call.jsonrpc != "2.0" || call.method != "tools/call" {
        return None;
    }
    let mut parameters = CallToolRequestParams::new(call.params.name);
    parameters.arguments = call.params.arguments;
    let mut request = CallToolRequest::new(parameters);
    if let Some(meta) = call.params.meta {
        request.extensions.insert(RequestMetaObject::from(meta));
    }
    Some((request_id(&call.id)?, ClientRequest::CallToolRequest(request)))
}

fn refused(id: Option<RequestId>, code: ErrorCode, message: impl Into<String>) -> Inbound {
    Inbound::Refused(Refusal::new(id, code, message))
}

/// Stricter than rmcp, which takes 1.0 for 1, so that two ids of a client could become one.
fn request_id(value: &Value) -> Option<RequestId> {
    match value {
        Value::Number(number) => number.as_i64().map(NumberOrString::Number),
        Value::String(text) if text.len() <= Id::MAX_BYTES => Some(NumberOrString::String(text.as_str().into())),
        _ => None,
    }
}

fn bad_parameters(method: &str, parameters: Option<&Value>) -> String {
    let reason = match (method, parameters) {
        (_, None) => Some("they are missing".to_owned()),
        (_, Some(value)) if !value.is_object() => Some("they are not an object".to_owned()),
        ("tools/call", Some(value)) => CallToolRequestParams::deserialize(value).err().map(|error| error.to_string()),
        ("initialize", Some(value)) => InitializeRequestParams::deserialize(value).err().map(|error| error.to_string()),
        _ => None,
    };
    match reason {
        // Bounded, because the reason may quote the message.
        Some(reason) => {
            let reason: String = reason.chars().take(MAX_REASON_CHARACTERS).collect();
            format!("The parameters of {method} do not fit: {reason}.")
        }
        None => format!("The parameters of {method} do not fit."),
    }
}

/// A line that serde_json refuses is not JSON, with one exception: an escaped lone surrogate is JSON, but not Unicode.
fn unreadable(line: &[u8], error: &serde_json::Error) -> Refusal {
    if let Some(Value::Object(object)) = without_lone_surrogates(line) {
        let id = object.get("id").and_then(request_id);
        let message = "The message is not Unicode text: it holds half of a surrogate pair (\\ud800 to \\udfff).";
        return Refusal::new(id, ErrorCode::INVALID_PARAMS, message);
    }
    let message = match std::str::from_utf8(line) {
        Ok(_) => format!("The line is not JSON: {error}."),
        Err(error) => format!("The line is not UTF-8: {error}."),
    };
    Refusal::new(None, ErrorCode::PARSE_ERROR, message)
}

/// The JSON with U+FFFD in place of lone surrogates; none if it has no surrogates or is not JSON.
fn without_lone_surrogates(line: &[u8]) -> Option<Value> {
    let mut mended = line.to_vec();
    let mut found = false;
    let mut position = 0;
    while position + 1 < mended.len() {
        if mended[position] != b'\\' {
            position += 1;
            continue;
        }
        match escaped_unit(&mended, position) {
            Some(0xd800..=0xdbff) if matches!(escaped_unit(&mended, position + 6), Some(0xdc00..=0xdfff)) => {
                position += 12;
            }
            Some(0xd800..=0xdfff) => {
                mended[position + 2..position + 6].copy_from_slice(b"fffd");
                found = true;
                position += 6;
            }
            _ => position += 2,
        }
    }
    if found { serde_json::from_slice(&mended).ok() } else { None }
}

/// The UTF-16 unit of a `\uXXXX` escape that begins at `position`.
fn escaped_unit(line: &[u8], position: usize) -> Option<u16> {
    let digits = line.get(position..position + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> (Option<RequestId>, i32) {
        match read(line.as_bytes()) {
            Inbound::Refused(refusal) => (refusal.id, refusal.code.0),
            other => panic!("{line} was taken as {other:?}"),
        }
    }

    #[test]
    fn a_line_that_is_not_json_is_a_parse_error_without_an_id() {
        for line in ["hello", "{", r#"{"id":1"#, "{\"id\":1}}", "\u{0}"] {
            assert_eq!(refusal(line), (None, -32700), "{line}");
        }
        assert!(matches!(read(b"\xff\xfe"), Inbound::Refused(refusal) if refusal.code.0 == -32700));
    }

    #[test]
    fn a_message_of_the_wrong_shape_is_an_invalid_request() {
        let seven = Some(NumberOrString::Number(7));
        for (line, id) in [
            ("[]", None),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, None),
            ("7", None),
            ("null", None),
            ("{}", None),
            (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, None),
            (r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}"#, None),
            (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, seven.clone()),
            (r#"{"id":7,"method":"ping"}"#, seven.clone()),
            (r#"{"jsonrpc":"2.0","id":7}"#, seven.clone()),
            (r#"{"jsonrpc":"2.0","id":7,"method":5}"#, seven.clone()),
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}"#, seven),
        ] {
            assert_eq!(refusal(line), (id, -32600), "{line}");
        }
    }

    #[test]
    fn a_known_method_with_bad_parameters_is_not_an_unknown_method() {
        for line in [
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":null}"#,
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","arguments":[]}}"#,
            r#"{"jsonrpc":"2.0","id":"a","method":"initialize","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/list","params":5}"#,
        ] {
            assert_eq!(refusal(line), (Some(NumberOrString::String("a".into())), -32602), "{line}");
        }
        let unknown = read(br#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#);
        assert!(matches!(unknown, Inbound::Request(_, request) if request.method() == "no/such"));
    }

    #[test]
    fn a_plain_call_is_what_rmcp_would_have_made_of_it() {
        let meta = r#","_meta":{"progressToken":7,"other":{"a":[1]}}"#;
        for parameters in [
            r#"{"name":"t"}"#.to_owned(),
            r#"{"name":"t","arguments":{}}"#.to_owned(),
            format!(r#"{{"name":"t","arguments":{{"source_code":"1","n":1.5}}{meta}}}"#),
            format!(r#"{{"name":"t"{meta}}}"#),
        ] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{parameters}}}"#);
            let Ok(JsonRpcMessage::Request(expected)) = serde_json::from_str::<ClientJsonRpcMessage>(&line) else {
                panic!("{line}")
            };
            let Some((id, found)) = plain_call(line.as_bytes()) else { panic!("{line} is not plain") };
            assert_eq!(id, NumberOrString::Number(1));
            assert_eq!(format!("{found:?}"), format!("{:?}", expected.request));
            let meta = |request: &ClientRequest| rmcp::model::GetMeta::get_meta(request).clone();
            assert_eq!(meta(&found), meta(&expected.request));
        }
        for parameters in
            [r#"{"name":1}"#, r#"{"name":"t","arguments":null}"#, r#"{"name":"t","requestState":"x"}"#, "[]"]
        {
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{parameters}}}"#);
            assert!(plain_call(line.as_bytes()).is_none(), "{line}");
        }
    }

    #[test]
    fn lone_surrogates_are_refused_by_name_and_pairs_are_not() {
        let call = |text: &str| {
            let arguments = format!(r#"{{"name":"t","arguments":{{"source_code":"{text}"}}}}"#);
            format!(r#"{{"jsonrpc":"2.0","method":"tools/call","params":{arguments},"id":3}}"#)
        };
        for text in [r"\ud800", r"\udc00\ud800", r"\ud800\ud83d\ude00", r"\ud800x", r"\\\ud800"] {
            assert_eq!(refusal(&call(text)), (Some(NumberOrString::Number(3)), -32602), "{text}");
        }
        for text in [r"\ud83d\ude00", r"\\ud800", r"\u0000"] {
            assert!(matches!(read(call(text).as_bytes()), Inbound::Request(..)), "{text}");
        }
    }

    #[test]
    fn answers_and_empty_lines_are_nothing() {
        for line in ["", " \r", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","error":{"code":1}}"#] {
            assert!(matches!(read(line.as_bytes()), Inbound::Nothing), "{line}");
        }
    }
}
