//! HTTP beside the lines of MCP: on the user's own socket, and on TCP for those who know the token.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::support::daemon::Daemon;
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use crate::support::{PATIENCE, until};
use serde_json::{Value, json};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        // An event stream holds it in its last event.
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: ")).rfind(|data| data.starts_with('{'));
        serde_json::from_str(data.unwrap_or(&self.body)).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn exchange(mut stream: impl Read + Write, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    send(&mut stream, method, path, headers, body);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Response { status, head: head.to_owned(), body }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

fn send(stream: &mut impl Write, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
    let host = if headers.iter().any(|(name, _)| *name == "Host") { "" } else { "Host: localhost\r\n" };
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
}

fn unix(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.home().socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A `tools/call` of the newest revision, with the headers that belong to it.
fn call(source_code: &str) -> String {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {
            "name": "execute_python_code", "arguments": {"source_code": source_code},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    })
    .to_string()
}

const MODERN: [(&str, &str); 5] = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json, text/event-stream"),
    ("MCP-Protocol-Version", "2026-07-28"),
    ("Mcp-Method", "tools/call"),
    ("Mcp-Name", "execute_python_code"),
];

fn with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    MODERN.into_iter().filter(|(name, _)| !is_changed(name)).chain(changes.iter().copied()).collect()
}

#[test]
fn the_socket_serves_http_to_those_who_begin_with_it() {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    let health = exchange(unix(&daemon), "GET", "/healthz", &[], "");
    assert_eq!((health.status, health.json()["interpreter"].as_str()), (200, Some(interpreter.url().as_str())));
    interpreter.answer_next(Answer::stdout("4\n"));
    let answer = exchange(unix(&daemon), "POST", "/mcp", &MODERN, &call("print(2 + 2)"));
    assert_eq!(
        (answer.status, &answer.json()["result"]["structuredContent"]["stdout"]),
        (200, &json!("4\n")),
        "{}",
        answer.body
    );
    // And lines to all others.
    daemon.connect().call("1");

    let metrics = exchange(unix(&daemon), "GET", "/metrics", &[], "");
    assert!(metrics.head.to_ascii_lowercase().contains("content-type: application/openmetrics-text"));
    for line in [
        "python_interpreter_mcp_executions_total{outcome=\"finished\"} 2",
        "python_interpreter_mcp_execution_seconds_count 2",
    ] {
        assert!(metrics.body.contains(line), "{line}: {}", metrics.body);
    }
    for (method, path, status) in [
        ("GET", "/", 404),
        ("POST", "/", 404),
        ("POST", "/mcp/", 404),
        ("POST", "/metrics", 405),
        ("GET", "/mcp", 405),
        ("DELETE", "/mcp", 405),
    ] {
        assert_eq!(exchange(unix(&daemon), method, path, &MODERN, "").status, status, "{method} {path}");
    }
}

#[test]
fn the_legacy_era_needs_no_session() {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let hello = exchange(unix(&daemon), "POST", "/mcp", &headers, &hello.to_string());
    assert_eq!(hello.json()["result"]["protocolVersion"], "2025-06-18", "{}", hello.body);
    assert!(!hello.head.to_ascii_lowercase().contains("mcp-session-id"));
    interpreter.answer_next(Answer::stdout("4\n"));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "execute_python_code", "arguments": {"source_code": "1"}}});
    let headers = [headers[0], headers[1], ("MCP-Protocol-Version", "2025-06-18")];
    let answer = exchange(unix(&daemon), "POST", "/mcp", &headers, &call.to_string());
    assert_eq!(answer.json()["result"]["structuredContent"]["stdout"], "4\n", "{}", answer.body);
}

#[test]
fn what_does_not_fit_is_refused() {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    let post = |headers: &[(&str, &str)], body: &str| exchange(unix(&daemon), "POST", "/mcp", headers, body);
    for (change, code) in [
        (("Mcp-Method", "tools/list"), -32020),
        (("Mcp-Name", "other"), -32020),
        (("MCP-Protocol-Version", "2025-11-25"), -32020),
    ] {
        let answer = post(&with(&[change]), &call("1"));
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (400, &json!(code)),
            "{change:?}: {}",
            answer.body
        );
    }
    let version = call("1").replace("2026-07-28", "2031-01-01");
    let answer = post(&with(&[("MCP-Protocol-Version", "2031-01-01")]), &version);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32022)), "{}", answer.body);
    assert!(answer.json()["error"]["data"]["supported"].as_array().unwrap().contains(&json!("2026-07-28")));
    for (change, status) in
        [(("Host", "evil.example"), 403), (("Origin", "http://evil.example"), 403), (("Origin", "null"), 403)]
    {
        assert_eq!(post(&with(&[change]), &call("1")).status, status, "{change:?}");
    }
    let huge = call(&"#".repeat(17 << 20));
    let mut stream = unix(&daemon);
    let head = MODERN.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}Content-Length: {}\r\n\r\n",
        huge.len()
    )
    .unwrap();
    // It may be refused before all of it was sent.
    let _ = stream.write_all(huge.as_bytes());
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[..12], b"HTTP/1.1 413");
    assert_eq!(interpreter.requests().len(), 0, "nothing of that was run");
}

#[test]
fn a_hang_up_ends_the_run() {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    interpreter.answer_next(Answer::Hold);
    let mut stream = unix(&daemon);
    send(&mut stream, "POST", "/mcp", &MODERN, &call("while True: pass"));
    interpreter.wait_for_requests(1);
    drop(stream);
    interpreter.wait_for_ended(1);
    daemon.connect().call("1");
}

#[test]
fn answers_that_nobody_reads_are_bounded_over_http_too() {
    const ANSWER: usize = 15 << 20;
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    let text = "x".repeat(ANSWER);
    let mut large: Value = serde_json::from_str(&call("large")).unwrap();
    large["params"]["_meta"]["python-interpreter-mcp/outputCharacters"] = json!(16 << 20);
    let large = large.to_string();
    // Each is twice in its result: 30 of them are nearly twice the bound.
    let mut streams: Vec<UnixStream> = Vec::new();
    for number in 0..30 {
        interpreter.answer_next(Answer::stdout(&text));
        let mut stream = unix(&daemon);
        send(&mut stream, "POST", "/mcp", &MODERN, &large);
        interpreter.wait_for_requests(number + 1);
        // The answer, or the error instead of it, begins to arrive.
        rustix::net::recv(&stream, &mut [0; 1], rustix::net::RecvFlags::PEEK).unwrap();
        streams.push(stream);
    }
    let statuses = streams.into_iter().map(|mut stream| {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let status = String::from_utf8_lossy(&answer[..12]).into_owned();
        (status, answer.len())
    });
    let statuses: Vec<_> = statuses.collect();
    let whole = statuses.iter().filter(|(status, length)| status == "HTTP/1.1 200" && *length > 2 * ANSWER).count();
    let refused = statuses.iter().filter(|(status, length)| status == "HTTP/1.1 503" && *length < 1000).count();
    assert!((10..=17).contains(&whole) && whole + refused == 30, "{statuses:?}");
    // What was read makes room.
    interpreter.answer_next(Answer::stdout(&text));
    assert_eq!(exchange(unix(&daemon), "POST", "/mcp", &MODERN, &large).status, 200);
}

/// A daemon that serves TCP as well, at which address, and the file of its token.
fn with_tcp(interpreter: &FakeInterpreter, more: &[&str]) -> (Daemon, String, tempfile::NamedTempFile) {
    configured_with_tcp(&[("PYTHON_INTERPRETER_MCP_URL", &interpreter.url())], more)
}

fn configured_with_tcp(environment: &[(&str, &str)], more: &[&str]) -> (Daemon, String, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
    let mut arguments = vec!["--http", "127.0.0.1:0", "--http-token-file", file.path().to_str().unwrap()];
    arguments.extend(more);
    let daemon = Daemon::start_with(environment, &arguments);
    let mut address = None;
    until("it says where it listens", || {
        address = daemon.stderr().lines().find_map(|line| Some(line.split_once("address=")?.1.trim().to_owned()));
        address.is_some()
    });
    (daemon, address.unwrap(), file)
}

#[test]
fn tcp_is_for_those_who_know_the_token() {
    let interpreter = FakeInterpreter::start();
    let (_daemon, address, _token) = with_tcp(&interpreter, &[]);
    let tcp = || {
        let stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let bearer = format!("Bearer {TOKEN}");
    for wrong in [None, Some("Bearer wrong-wrong-wrong-wrong"), Some(TOKEN)] {
        let headers: Vec<_> = wrong.map(|value| ("Authorization", value)).into_iter().collect();
        for (method, path) in [("GET", "/healthz"), ("GET", "/metrics"), ("GET", "/"), ("POST", "/mcp")] {
            let refused = exchange(tcp(), method, path, &headers, "");
            assert_eq!(refused.status, 401, "{method} {path} {wrong:?}");
            assert!(refused.head.to_ascii_lowercase().contains("www-authenticate: bearer"));
        }
    }
    let authorized = [("Authorization", bearer.as_str())];
    assert_eq!(exchange(tcp(), "GET", "/healthz", &authorized, "").status, 200);
    interpreter.answer_next(Answer::stdout("4\n"));
    let answer = exchange(tcp(), "POST", "/mcp", &with(&authorized), &call("1"));
    assert_eq!(answer.json()["result"]["structuredContent"]["stdout"], "4\n");
    for change in [("Host", "evil.example"), ("Origin", "https://evil.example")] {
        assert_eq!(
            exchange(tcp(), "POST", "/mcp", &with(&[authorized[0], change]), &call("1")).status,
            403,
            "{change:?}"
        );
    }
    assert_eq!(interpreter.requests().len(), 1);
}

#[test]
fn what_programs_import_that_come_over_tcp_is_not_learned() {
    let (daemon, address, _token) = configured_with_tcp(&[], &[]);
    let authorized = [("Authorization", &*format!("Bearer {TOKEN}"))];
    let text = |arguments: &[&str]| {
        let output = daemon.home().command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for _ in 0..3 {
        let stream = TcpStream::connect(&address).unwrap();
        let answer = exchange(stream, "POST", "/mcp", &with(&authorized), &call("import colorsys\nprint(1)"));
        assert_eq!(answer.json()["result"]["structuredContent"]["stdout"], "1\n", "{}", answer.body);
    }
    // The twin.
    for _ in 0..3 {
        assert_eq!(text(&["exec", "import wave\nprint(1)"]), "1\n");
    }
    until("it is learned", || text(&["preload", "list"]).contains("preloaded"));
    let listed: Value = serde_json::from_str(&text(&["preload", "list", "--json"])).unwrap();
    assert!(listed["modules"].as_array().is_some_and(|modules| modules.len() == 1), "{listed}");
}

#[test]
fn whoever_knows_no_token_locks_nobody_out_who_does() {
    let interpreter = FakeInterpreter::start();
    let (daemon, address, _token) = with_tcp(&interpreter, &[]);
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let bearer = format!("Bearer {TOKEN}");
    let stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(exchange(stream, "GET", "/healthz", &[("Authorization", &bearer)], "").status, 200);
    // Those without a token are closed within seconds, without a word.
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
    drop(daemon);
}

#[test]
fn whoever_only_looks_is_no_client() {
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    let clients = || {
        let metrics = exchange(unix(&daemon), "GET", "/metrics", &[], "").body;
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("python_interpreter_mcp_clients ").map(str::to_owned));
        line.unwrap()
    };
    assert_eq!(clients(), "0");
    interpreter.answer_next(Answer::Hold);
    let mut stream = unix(&daemon);
    send(&mut stream, "POST", "/mcp", &MODERN, &call("1"));
    interpreter.wait_for_requests(1);
    assert_eq!(clients(), "1", "who sends MCP over HTTP is one");
}

#[test]
fn without_a_token_there_is_no_tcp() {
    let home = crate::support::daemon::Home::new();
    let output = home.command().args(["serve", "--http", "127.0.0.1:0"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && stderr.contains("needs a token"), "{stderr}");
}

#[test]
fn what_is_asked_is_answered_before_the_daemon_stops() {
    let interpreter = FakeInterpreter::start();
    let mut daemon = Daemon::start(&interpreter);
    interpreter.answer_next(Answer::Hold);
    let mut stream = unix(&daemon);
    send(&mut stream, "POST", "/mcp", &MODERN, &call("1"));
    interpreter.wait_for_requests(1);
    daemon.terminate();
    until("no new client is served", || UnixStream::connect(daemon.home().socket()).is_err());
    interpreter.release();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("released"), "{answer}");
    assert!(daemon.wait().success());
}

#[test]
fn a_body_that_does_not_come_and_connections_without_a_word_cost_the_client_s_nothing() {
    let interpreter = FakeInterpreter::start();
    let (daemon, address, _token) = with_tcp(&interpreter, &["--max-sessions", "8"]);
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(
        daemon.connect().call("1")["structuredContent"]["exit_code"],
        0,
        "others' connections take no client's place"
    );
    drop(silent);
    // The next daemon listens at the same address while this one still answers.
    interpreter.answer_next(Answer::Hold);
    let mut stream = unix(&daemon);
    send(&mut stream, "POST", "/mcp", &MODERN, &call("1"));
    interpreter.wait_for_requests(2);
    daemon.terminate();
    until("the address is free", || std::net::TcpListener::bind(&address).is_ok());
    interpreter.release();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("released"), "{answer}");
}
