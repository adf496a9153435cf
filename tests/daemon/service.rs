//! What an interpreter service gets from the daemon, and what clients get for whatever it answers: exact bytes, warm
//! connections, one request a call, and a result of its own for each way to fail.

use crate::support::daemon::Daemon;
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use serde_json::{Value, json};

const TIMEOUT_ENV: &str = "PYTHON_INTERPRETER_MCP_TIMEOUT";
const URL_ENV: &str = "PYTHON_INTERPRETER_MCP_URL";

fn world() -> (FakeInterpreter, Daemon) {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    (interpreter, daemon)
}

/// The fields of a result for what could not be executed, after a look at its shape.
fn failure(result: &Value) -> (i64, String) {
    assert_eq!(result["isError"], true, "{result}");
    let structured = &result["structuredContent"];
    let keys: Vec<_> = structured.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["exit_code", "files", "stderr", "stdout"]);
    assert_eq!(result["content"][0]["text"], structured.to_string());
    assert_eq!((&structured["files"], &structured["stdout"]), (&json!({}), &json!("")));
    (structured["exit_code"].as_i64().unwrap(), structured["stderr"].as_str().unwrap().to_owned())
}

#[test]
fn a_request_is_exactly_these_bytes() {
    let (interpreter, daemon) = world();
    daemon.connect().call("print(\"é\\n\")\n");
    let request = &interpreter.requests()[0];
    let body = r#"{"source_code":"print(\"é\\n\")\n"}"#;
    assert_eq!(String::from_utf8_lossy(&request.body), body);
    let expected = format!(
        "POST /v1/execute HTTP/1.1\r\nhost: localhost:{}\r\nuser-agent: python-interpreter-mcp/{}\r\n\
         content-type: application/json\r\naccept: application/json\r\ncontent-length: {}\r\n",
        interpreter.address().port(),
        env!("CARGO_PKG_VERSION"),
        body.len(),
    );
    assert_eq!(request.head, expected);
}

#[test]
fn a_url_with_the_path_of_the_call_means_the_same_service() {
    let interpreter = FakeInterpreter::start();
    let url = format!("{}/v1/execute", interpreter.url());
    Daemon::start_with(&[(URL_ENV, &url)], &[]).connect().call("1");
    Daemon::start_with(&[], &["--interpreter-url", &url]).connect().call("1");
    assert!(interpreter.requests().iter().all(|request| request.head.starts_with("POST /v1/execute HTTP/1.1\r\n")));
    assert_eq!(interpreter.requests().len(), 2);
}

#[test]
fn a_program_s_end_is_passed_on_as_it_is_and_is_no_error() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    for exit_code in [0, 1, 3, 124, 137, -1] {
        let files = json!({"/workspace/a b.png": "Ab_-9"});
        let answer = json!({"stdout": "out\n", "stderr": "err", "exit_code": exit_code, "files": files});
        interpreter.answer_next(Answer::Json(answer.clone()));
        let result = session.call("1");
        assert_eq!(result["structuredContent"], answer);
        assert_eq!(result["content"], json!([{"type": "text", "text": answer.to_string()}]));
        assert_eq!(result["isError"], false);
        assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], interpreter.url());
        assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "python-interpreter");
    }
}

#[test]
fn a_service_that_is_not_there_is_a_request_error_that_says_what_to_check() {
    let url = FakeInterpreter::start().url();
    let daemon = Daemon::start_with(&[(URL_ENV, &url)], &[]);
    let (exit_code, stderr) = failure(&daemon.connect().call("1"));
    assert_eq!(exit_code, 1);
    assert!(stderr.starts_with("Request error: cannot connect"), "{stderr}");
    assert!(stderr.contains(&url) && stderr.contains(URL_ENV) && stderr.contains("was not run"), "{stderr}");
}

#[test]
fn a_dropped_connection_is_a_request_error_and_the_call_is_not_sent_again() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"stdout\":".to_vec();
    for (number, warm) in [(1, false), (3, true)] {
        if warm {
            session.call("warms the connection");
        }
        interpreter.answer_next(Answer::Drop);
        let (exit_code, stderr) = failure(&session.call("1"));
        assert_eq!(exit_code, 1);
        assert!(stderr.starts_with("Request error: ") && stderr.contains(&interpreter.url()), "{stderr}");
        assert!(stderr.contains("may or may not have run"), "{stderr}");
        assert_eq!(interpreter.requests().len(), number);
    }
    interpreter.answer_next(Answer::Raw(half));
    session.send_call(99, "half an answer");
    interpreter.wait_for_requests(4);
    interpreter.close_connections();
    let (_, stderr) = failure(&session.read()["result"]);
    assert!(stderr.starts_with("Request error: "), "{stderr}");
    session.call("the next call is served");
    assert_eq!(interpreter.requests().len(), 5);
}

#[test]
fn an_error_status_is_an_http_error_with_the_body_bounded() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    interpreter.answer_next(Answer::status("502 Bad Gateway", b"upstream is down"));
    assert_eq!(failure(&session.call("1")), (1, "HTTP error 502: upstream is down".to_owned()));
    interpreter.answer_next(Answer::status("422 Unprocessable Entity", br#"{"detail":"x"}"#));
    assert_eq!(failure(&session.call("1")), (1, r#"HTTP error 422: {"detail":"x"}"#.to_owned()));
    let elsewhere = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    interpreter.answer_next(Answer::Raw(elsewhere.to_vec()));
    assert_eq!(failure(&session.call("1")), (1, "HTTP error 302: ".to_owned()));
    interpreter.answer_next(Answer::status("500 Internal Server Error", "é".repeat(100_000).as_bytes()));
    let (_, stderr) = failure(&session.call("1"));
    assert_eq!(stderr, format!("HTTP error 500: {} … (cut off)", "é".repeat(2048)));
    assert_eq!(interpreter.requests().len(), 4);
}

#[test]
fn no_answer_in_time_is_a_timeout_that_names_the_limit_and_the_setting() {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start_with(&[(URL_ENV, &interpreter.url()), (TIMEOUT_ENV, "1")], &[]);
    interpreter.answer_next(Answer::Hold);
    let (exit_code, stderr) = failure(&daemon.connect().call("1"));
    assert_eq!(exit_code, 124);
    assert!(stderr.starts_with("Timeout after 1 s"), "{stderr}");
    assert!(stderr.contains(TIMEOUT_ENV) && stderr.contains("--timeout"), "{stderr}");
    interpreter.wait_for_ended(1);
    assert_eq!(interpreter.requests().len(), 1);
}

#[test]
fn an_answer_of_another_kind_is_shown_by_its_first_bytes() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    let page = "<html>\u{1b}[31m".to_owned() + &"x".repeat(5000);
    let other_shape = r#"{"result": 1}"#.to_owned();
    let wrong_type = r#"{"stdout": 1, "stderr": "", "exit_code": 0, "files": {}}"#.to_owned();
    for body in [page, other_shape, wrong_type, "[]".to_owned(), "[0, {}, \"\", \"\"]".to_owned(), String::new()] {
        interpreter.answer_next(Answer::status("200 OK", body.as_bytes()));
        let (exit_code, stderr) = failure(&session.call("1"));
        assert_eq!(exit_code, 1);
        assert!(stderr.contains("is not the interpreter API's JSON"), "{stderr}");
        let shown: String = body.as_bytes()[..body.len().min(200)].escape_ascii().to_string();
        assert!(stderr.ends_with(&format!("begins with: \"{shown}\"")), "{stderr}");
        assert!(stderr.len() < 1000 && !stderr.contains('\u{1b}'));
    }
}

#[test]
fn an_answer_over_the_limit_is_cut_off_and_memory_stays_bounded() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    let body = format!(r#"{{"stdout":"{}"}}"#, "x".repeat(200 << 20));
    daemon.reset_peak();
    interpreter.answer_next(Answer::status("200 OK", body.as_bytes()));
    let (exit_code, stderr) = failure(&session.call("1"));
    assert_eq!(exit_code, 1);
    assert!(stderr.contains("larger than the limit of 64 MiB"), "{stderr}");
    assert!(stderr.contains(r#"{\"stdout\":\"xxx"#) && stderr.len() < 1000, "{stderr}");
    // The limit, doubled for a buffer that grows.
    assert!(daemon.peak_kilobytes() < 200 << 10, "{} kB", daemon.peak_kilobytes());
    session.call("the next call is served");
}

#[test]
fn a_large_answer_arrives_whole_where_that_is_asked_for() {
    let (interpreter, daemon) = world();
    let text = "line é \"quoted\"\n".repeat(300_000);
    interpreter.answer_next(Answer::stdout(&text));
    let mut session = daemon.connect();
    let mut call = session.call_message(json!(1), "1");
    call["params"]["_meta"]["python-interpreter-mcp/outputCharacters"] = json!(u32::MAX);
    session.send(&call);
    let result = session.read()["result"].take();
    assert!(result["structuredContent"]["stdout"] == text);
    let structured = result["structuredContent"].to_string();
    assert!(result["content"][0]["text"].as_str() == Some(&structured));
}

#[test]
fn more_output_than_clients_take_is_shortened_in_the_middle() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    for (stdout, stderr) in [(100_000, 0), (0, 100_000), (100_000, 100_000), (29_000, 900), (100_000, 20)] {
        let (out, err) = ("o".repeat(stdout), "é".repeat(stderr));
        interpreter.answer_next(Answer::Json(json!({"stdout": out, "stderr": err, "exit_code": 0, "files": {}})));
        let result = session.call("1");
        let text = |name: &str| result["structuredContent"][name].as_str().unwrap().to_owned();
        let length = text("stdout").chars().count() + text("stderr").chars().count();
        let whole = stdout + stderr <= 30_000;
        assert_eq!(length == stdout + stderr, whole, "{length}");
        assert!(length <= 30_000 && length >= 29_900.min(stdout + stderr), "{length}");
        assert_eq!(
            text("stdout").contains(" bytes left out]\n") || text("stderr").contains(" bytes left out]\n"),
            !whole
        );
        assert!(stderr > 100 || text("stderr") == err, "what is short stays as it is");
    }
}

#[test]
fn a_thousand_calls_one_after_the_other_make_one_connection() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    for _ in 0..1000 {
        session.call("1");
    }
    assert_eq!((interpreter.accepted(), interpreter.requests().len()), (1, 1000));
    daemon.connect().call("another client shares it");
    assert_eq!(interpreter.accepted(), 1);
}

#[test]
fn a_service_that_closes_idle_connections_or_restarts_costs_no_call() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    for round in 1..=20 {
        assert_eq!(session.call("1")["isError"], false);
        interpreter.close_connections();
        interpreter.wait_for_ended(round);
    }
    assert_eq!((interpreter.accepted(), interpreter.requests().len()), (20, 20));
    let address = interpreter.address();
    session.call("leaves a warm connection");
    drop(interpreter);
    let interpreter = FakeInterpreter::start_at(address);
    assert_eq!(session.call("after the restart")["isError"], false);
    assert_eq!(interpreter.requests().len(), 1);
}

#[test]
fn many_warm_connections_that_were_closed_cost_no_call() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    for id in 1..=8 {
        interpreter.answer_next(Answer::Hold);
        session.send_call(id, "1");
    }
    interpreter.wait_for_requests(8);
    interpreter.release();
    for _ in 1..=8 {
        session.read_answer();
    }
    assert_eq!(interpreter.accepted(), 8);
    interpreter.close_connections();
    interpreter.wait_for_ended(8);
    assert_eq!(daemon.connect().call("2")["isError"], false);
    assert_eq!((interpreter.accepted(), interpreter.requests().len()), (9, 9));
}

#[test]
fn an_idle_connection_is_closed_by_the_daemon_and_costs_no_call() {
    let (interpreter, daemon) = world();
    let mut session = daemon.connect();
    session.call("1");
    interpreter.wait_for_ended(1);
    assert_eq!(session.call("2")["isError"], false);
    assert_eq!((interpreter.accepted(), interpreter.requests().len()), (2, 2));
}

#[test]
fn a_url_that_cannot_work_is_refused_at_the_start_with_the_reason() {
    let home = crate::support::daemon::Home::new();
    for (url, said) in [("https://localhost:50081", "without TLS"), ("localhost", "is not a URL")] {
        let output = home.command().args(["serve", "--interpreter-url", url]).output().unwrap();
        assert!(!output.status.success());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(said), "{stderr}");
    }
}
