//! What a client of the daemon's socket gets for what it sends: both lifecycles, and every kind of bad input.

use crate::support::daemon::{Daemon, Session};
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use serde_json::{Value, json};

fn world() -> (FakeInterpreter, Daemon) {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    (interpreter, daemon)
}

/// Sends a line that is refused; the connection has to live on.
fn refusal(session: &mut Session, line: &[u8]) -> (Value, i64, String) {
    session.send_bytes(line);
    session.send_bytes(b"\n");
    let answer = session.read();
    let error = &answer["error"];
    let (code, message) = (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned());
    assert!(session.request("tools/list", json!({}))["result"].is_object());
    (answer["id"].clone(), code, message)
}

#[test]
fn serves_every_older_revision_after_its_handshake() {
    let (interpreter, daemon) = world();
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut session = daemon.connect();
        let hello = session.initialize(version);
        assert_eq!(hello["protocolVersion"], version);
        assert_eq!(hello["serverInfo"]["name"], "python-interpreter");
        assert_eq!(hello["serverInfo"]["title"], "Python Interpreter");
        assert!(session.request("ping", json!({}))["result"].is_object());
        let tools = session.request("tools/list", json!({}));
        assert_eq!(tools["result"]["tools"][0]["name"], "execute_python_code");
        interpreter.answer_next(Answer::stdout("4\n"));
        let result = session.call("print(2 + 2)");
        assert_eq!(result["structuredContent"]["stdout"], "4\n");
        assert!(result.get("resultType").is_none());
    }
}

#[test]
fn serves_the_newest_revision_without_a_handshake() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    let hello = session.request("server/discover", json!({}))["result"].clone();
    assert!(hello["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")));
    assert_eq!(hello["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "python-interpreter");
    let tools = session.request("tools/list", json!({}))["result"].clone();
    assert_eq!((&tools["resultType"], &tools["cacheScope"]), (&json!("complete"), &json!("private")));
    assert!(tools["ttlMs"].as_u64().unwrap() > 0);
    let tool = &tools["tools"][0];
    let hints =
        json!({"readOnlyHint": false, "destructiveHint": false, "idempotentHint": false, "openWorldHint": true});
    assert_eq!(tool["annotations"], hints);
    assert_eq!(tool["inputSchema"]["required"], json!(["source_code"]));
    assert_eq!(tool["outputSchema"]["required"], json!(["exit_code", "files", "stderr", "stdout"]));
    interpreter.answer_next(Answer::stdout("4\n"));
    assert_eq!(session.call("print(2 + 2)")["structuredContent"]["stdout"], "4\n");
}

#[test]
fn a_discovery_may_be_followed_by_the_old_handshake() {
    let (_interpreter, daemon) = world();
    let mut session = daemon.connect();
    session.request("server/discover", json!({}));
    assert_eq!(session.initialize("2025-11-25")["protocolVersion"], "2025-11-25");
    session.call("1");
}

#[test]
fn lists_and_greets_while_no_interpreter_is_there() {
    let daemon = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_URL", "http://localhost:1")], &[]);
    let mut session = daemon.connect();
    assert!(session.request("server/discover", json!({}))["result"].is_object());
    assert!(session.request("tools/list", json!({}))["result"].is_object());
}

#[test]
fn a_notification_before_the_first_request_does_no_harm() {
    let (_interpreter, daemon) = world();
    let mut session = daemon.connect();
    session.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    session.cancel(5);
    session.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    assert_eq!(session.read()["error"]["code"], -32602, "neither a handshake nor what replaces it");
    session.send(&json!({"jsonrpc": "2.0", "method": "notifications/whatever", "params": [1]}));
    session.initialize("2025-06-18");
    session.call("1");
}

#[test]
fn what_is_no_json_is_a_parse_error_and_the_connection_stays() {
    let (_interpreter, daemon) = world();
    let mut session = daemon.connect();
    for line in [b"hello".as_slice(), b"{\"jsonrpc\":\"2.0\",\"id\":1,", b"\xff\xfe\xfd", b"\0", b"{'id': 1}"] {
        let (id, code, message) = refusal(&mut session, line);
        assert_eq!((id, code), (Value::Null, -32700), "{message}");
    }
}

#[test]
fn a_message_of_the_wrong_shape_is_one_invalid_request() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    let call = session.call_message(json!(1), "1").to_string();
    for line in [
        format!("[{call},{call}]"),
        "[]".to_owned(),
        "5".to_owned(),
        "\"text\"".to_owned(),
        "{}".to_owned(),
        call.replace("\"id\":1", "\"id\":1.5"),
        call.replace("\"id\":1", "\"id\":1.0"),
        call.replace("\"id\":1", "\"id\":null"),
        call.replace("\"id\":1", "\"id\":true"),
        call.replace("\"id\":1", "\"id\":{}"),
        call.replace("\"id\":1", "\"id\":[1]"),
    ] {
        let (id, code, message) = refusal(&mut session, line.as_bytes());
        assert_eq!((id, code), (Value::Null, -32600), "{line}: {message}");
    }
    let (_, _, message) = refusal(&mut session, format!("[{call}]").as_bytes());
    assert!(message.contains("Batches are not supported"), "{message}");
    let (id, code, _) = refusal(&mut session, call.replace("2.0", "1.0").as_bytes());
    assert_eq!((id, code), (json!(1), -32600));
    assert!(interpreter.requests().is_empty());
}

#[test]
fn a_known_method_with_bad_parameters_and_an_unknown_method_are_told_apart() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    let template = session.call_message(json!("a"), "1");
    let with = |pointer: &str, value: Value| {
        let mut message = template.clone();
        *message.pointer_mut(pointer).unwrap() = value;
        message.to_string()
    };
    for (line, said) in [
        (json!({"jsonrpc": "2.0", "id": "a", "method": "tools/call"}).to_string(), "missing"),
        (with("/params", json!([])), "not an object"),
        (with("/params", json!(null)), "not an object"),
        (with("/params/name", json!(null)), "do not fit"),
        (with("/params/name", json!("no_such_tool")), "execute_python_code"),
        (with("/params/arguments", json!([])), "do not fit"),
        (with("/params/arguments", json!({})), "source_code is missing"),
        (with("/params/arguments/source_code", json!(null)), "source_code must be a string, not null"),
        (with("/params/arguments/source_code", json!(17)), "source_code must be a string, not a number"),
        (with("/params/arguments/source_code", json!("#".repeat(5 << 20))), "limit is 4 MiB"),
    ] {
        let (id, code, message) = refusal(&mut session, line.as_bytes());
        assert_eq!((id, code), (json!("a"), -32602), "{message}");
        assert!(message.contains(said), "{message}");
    }
    let (id, code, _) = refusal(&mut session, with("/method", json!("no/such")).as_bytes());
    assert_eq!((id, code), (json!("a"), -32601));
    let future = with("/params/_meta/io.modelcontextprotocol~1protocolVersion", json!("2099-01-01"));
    assert_eq!(refusal(&mut session, future.as_bytes()).1, -32022);
    assert!(interpreter.requests().is_empty());
}

#[test]
fn a_line_over_the_limit_is_refused_with_its_id_and_kept_nowhere() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    session.call("warm up");
    let before = daemon.resident_kilobytes();
    daemon.reset_peak();
    // The id stands behind the long part, as the Python SDK has it.
    let code = "#".repeat(50_000_000);
    let arguments = format!(r#"{{"name":"execute_python_code","arguments":{{"source_code":"{code}"}}}}"#);
    let line = format!(r#"{{"jsonrpc":"2.0","method":"tools/call","params":{arguments},"id":"long"}}"#);
    let (id, code, message) = refusal(&mut session, line.as_bytes());
    assert_eq!((id, code), (json!("long"), -32600));
    assert!(message.contains("16 MiB"), "{message}");
    // While it passes the limit itself may be held, in a buffer that has room to grow.
    let peak = daemon.peak_kilobytes() - before;
    assert!(peak < 40 << 10, "{peak} kB more at the peak");
    let after = daemon.resident_kilobytes().saturating_sub(before);
    assert!(after < 20 << 10, "{after} kB more afterwards");
    assert_eq!(interpreter.requests().len(), 1);
}

#[test]
fn a_program_of_the_largest_size_arrives_whole() {
    let (interpreter, daemon) = world();
    let code = format!("#{}", "é".repeat((4 << 20) / 2 - 1));
    daemon.connect().call(&code);
    assert!(interpreter.requests()[0].source_code() == code);
}

#[test]
fn nul_bytes_pass_both_ways_and_lone_surrogates_are_refused_by_name() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    interpreter.answer_next(Answer::stdout("a\0b\u{1f40d}"));
    let result = session.call("print('\0')");
    assert_eq!(result["structuredContent"]["stdout"], "a\0b\u{1f40d}");
    assert_eq!(interpreter.requests()[0].source_code(), "print('\0')");

    let call = session.call_message(json!("s"), "PLACE").to_string();
    for text in [r"\ud800", r"\udc00", r"print('\ud83d')"] {
        let (id, code, message) = refusal(&mut session, call.replace("PLACE", text).as_bytes());
        assert_eq!((id, code), (json!("s"), -32602), "{message}");
        assert!(message.contains("Unicode"), "{message}");
    }
    session.send_bytes(call.replace("PLACE", r"\ud83d\udc0d").as_bytes());
    session.send_bytes(b"\n");
    assert!(session.read()["result"].is_object());
    assert_eq!(interpreter.requests()[1].source_code(), "\u{1f40d}");
}

#[test]
fn a_second_request_with_a_live_id_is_refused_and_the_first_is_answered() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    interpreter.answer_next(Answer::Hold);
    session.send_call(1, "first");
    interpreter.wait_for_requests(1);
    session.send_call(1, "second");
    let refused = session.read();
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(1), &json!(-32600)));
    session.send_call("1", "the string is another id");
    let other = session.read();
    assert_eq!(other["id"], "1");
    assert!(other["result"].is_object());
    interpreter.release();
    let first = session.read();
    assert_eq!(first["id"], 1);
    assert_eq!(first["result"]["structuredContent"]["stdout"], "released");
    assert_eq!(interpreter.requests().len(), 2);
    session.send_call(1, "the id is free again");
    assert!(session.read()["result"].is_object());
}

#[test]
fn a_cancelled_call_ends_at_once_without_an_answer_and_its_id_is_free() {
    let (interpreter, daemon) = world();
    for legacy in [true, false] {
        let mut session = daemon.connect();
        if legacy {
            session.initialize("2025-06-18");
        }
        let (requests, ended) = (interpreter.requests().len(), interpreter.ended());
        interpreter.answer_next(Answer::Hold);
        session.send_call("x", "long");
        interpreter.wait_for_requests(requests + 1);
        session.cancel("x");
        interpreter.wait_for_ended(ended + 1);
        interpreter.answer_next(Answer::stdout("the second"));
        session.send_call("x", "again");
        // Whatever was sent for the first would come before this.
        assert_eq!(session.read()["result"]["structuredContent"]["stdout"], "the second");
        session.cancel("never heard of");
        session.call("1");
    }
}

#[test]
fn answers_without_a_question_and_empty_lines_are_ignored_and_a_carriage_return_is_no_harm() {
    let (_interpreter, daemon) = world();
    let mut session = daemon.connect();
    session.send_bytes(b"\n\r\n  \n");
    session.send(&json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
    session.send(&json!({"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "x"}}));
    let list = session.message(json!(1), "tools/list", json!({}));
    session.send_bytes(format!("{list}\r\n").as_bytes());
    assert_eq!(session.read()["id"], 1);
}
