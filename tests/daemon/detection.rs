//! Which interpreter the daemon takes: a service on port 50081 where none is configured, if it belongs to this user; else the embedded
//! one. Whoever needs the port has a network of its own, so that no service of this machine is in the way.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::support::daemon::Daemon;
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use crate::support::own_network::is_own;
use crate::support::{passed_over, until};
use serde_json::json;

const DETECTED_ADDRESS: &str = "127.0.0.1:50081";

#[test]
fn the_service_on_port_50081_is_used_where_none_is_configured() {
    if !is_own(the_service_on_port_50081_is_used_where_none_is_configured) {
        return;
    }
    let service = FakeInterpreter::start_at(DETECTED_ADDRESS.parse().unwrap());
    let daemon = Daemon::start_with(&[], &[]);
    let mut session = daemon.connect();
    service.answer_next(Answer::stdout("from the service"));
    let result = session.call("1");
    assert_eq!(result["structuredContent"]["stdout"], "from the service");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], "http://localhost:50081");
    assert!(service.requests()[0].head.contains("\r\nhost: localhost:50081\r\n"));
    until("the choice is logged", || daemon.stderr().contains("interpreter chosen"));
}

#[test]
fn a_service_that_went_away_is_replaced_by_the_embedded_interpreter_without_losing_the_call() {
    if !is_own(a_service_that_went_away_is_replaced_by_the_embedded_interpreter_without_losing_the_call) {
        return;
    }
    let service = FakeInterpreter::start_at(DETECTED_ADDRESS.parse().unwrap());
    let daemon = Daemon::start_with(&[], &[]);
    let mut session = daemon.connect();
    session.call("1");
    drop(service);
    // Within the time for which the choice holds.
    let result = session.call("print('embedded')");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], "embedded", "{result}");
}

#[test]
fn a_service_that_drops_the_call_is_not_replaced() {
    if !is_own(a_service_that_drops_the_call_is_not_replaced) {
        return;
    }
    let service = FakeInterpreter::start_at(DETECTED_ADDRESS.parse().unwrap());
    let daemon = Daemon::start_with(&[], &[]);
    service.answer_next(Answer::Drop);
    let result = daemon.connect().call("1");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], "http://localhost:50081");
    assert_eq!((&result["isError"], service.requests().len()), (&json!(true), 1));
}

/// Answers whatever it is asked as a service would, and prints what it was asked.
const FORGER: &str = r#"
import json, socketserver, sys
class Forger(socketserver.StreamRequestHandler):
    def handle(self):
        head, length = b"", 0
        while (line := self.rfile.readline()).strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        print(self.rfile.read(length), flush=True)
        body = json.dumps({"stdout": "forged", "stderr": "", "exit_code": 0, "files": {}}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
socketserver.TCPServer.allow_reuse_address = True
server = socketserver.TCPServer(("127.0.0.1", 50081), Forger)
print("listening", flush=True)
server.serve_forever()
"#;

#[test]
fn another_user_who_takes_the_port_over_gets_no_program_and_forges_no_answer() {
    if !rustix::process::geteuid().is_root() {
        return passed_over("another user's process takes root");
    }
    if !is_own(another_user_who_takes_the_port_over_gets_no_program_and_forges_no_answer) {
        return;
    }
    let service = FakeInterpreter::start_at(DETECTED_ADDRESS.parse().unwrap());
    let daemon = Daemon::start_with(&[], &[]);
    let mut session = daemon.connect();
    session.call("1");
    drop(service);
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", FORGER]).current_dir("/").uid(54_321).gid(54_321).stdout(Stdio::piped());
    let mut forger = command.spawn().unwrap();
    let mut said = BufReader::new(forger.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().unwrap(), "listening");
    // Within the time for which it is remembered that the port was this user's.
    let result = session.call("print('embedded')");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], "embedded", "{result}");
    assert_ne!(result["structuredContent"]["stdout"], "forged");
    // Who connects without asking is answered.
    let url = format!("http://{DETECTED_ADDRESS}");
    let trusting = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_URL", &url)], &[]);
    assert_eq!(trusting.connect().call("twin = 1")["structuredContent"]["stdout"], "forged");
    // The connection that was refused brought nothing.
    let asked: Vec<String> = said.by_ref().take(2).collect();
    forger.kill().unwrap();
    forger.wait().unwrap();
    assert!(asked[0] == "b''" && asked[1].contains("twin = 1"), "{asked:?}");
}

#[test]
fn a_configured_service_that_is_gone_is_never_replaced() {
    let url = FakeInterpreter::start().url();
    let daemon = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_URL", &url)], &[]);
    let result = daemon.connect().call("1");
    assert_eq!(result["_meta"]["python-interpreter-mcp/interpreter"], url);
    assert_eq!(result["isError"], true);
}
