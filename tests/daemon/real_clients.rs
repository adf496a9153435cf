//! Real clients, each launching the real shim: the official SDKs in their own era, a hundred at once, and one that dies.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    process::Command,
    sync::{Arc, Barrier, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::support::client_software::{Language, Sdk};
use crate::support::launcher::shim;
use crate::support::processes::named;
use crate::support::raw_client::RawClient;
use crate::support::world::{Running, World};
use crate::support::{PATIENCE, client_software, until};
use python_interpreter::wire::is_file_id;
use serde_json::{Map, Value, json};

/// The SDKs send SIGTERM when a server has not left this long after the end of its input.
const GRACE: Duration = Duration::from_secs(2);
const TEXT: &str = "Zażółć gęślą jaźń, Ελληνικά, 日本語, 🐍, \u{301}, \u{2028}";

const PYTHON: Sdk = Sdk { language: Language::Python, library: "mcp", mode: "auto" };
const TYPESCRIPT: Sdk = Sdk { language: Language::TypeScript, library: "sdk", mode: "default" };

#[test]
fn the_python_sdk_does_everything_in_the_modern_era() {
    expect_right_report(PYTHON, "2026-07-28");
}

#[test]
fn the_python_sdk_does_everything_in_the_legacy_era() {
    expect_right_report(Sdk { mode: "legacy", ..PYTHON }, "2025-11-25");
}

#[test]
fn fastmcp_does_everything_in_the_modern_era() {
    expect_right_report(Sdk { library: "fastmcp", ..PYTHON }, "2026-07-28");
}

#[test]
fn fastmcp_does_everything_in_the_legacy_era() {
    expect_right_report(Sdk { library: "fastmcp", mode: "legacy", ..PYTHON }, "2025-11-25");
}

#[test]
fn the_first_typescript_sdk_does_everything_in_the_legacy_era() {
    expect_right_report(TYPESCRIPT, "2025-11-25");
}

#[test]
fn the_second_typescript_sdk_does_everything_in_the_legacy_era() {
    expect_right_report(Sdk { library: "client", ..TYPESCRIPT }, "2025-11-25");
}

#[test]
fn the_second_typescript_sdk_does_everything_after_a_probe_in_a_process_of_its_own() {
    expect_right_report(Sdk { library: "client", mode: "auto", ..TYPESCRIPT }, "2026-07-28");
}

#[test]
fn the_inspector_lists_runs_and_reads() {
    let world = World::new();
    let inspect = |arguments: &[&str]| -> Option<Value> {
        let mut command =
            client_software::script(&world, "@modelcontextprotocol/inspector/clients/launcher/build/index.js")?;
        command.arg("--cli").arg(shim()).args(arguments);
        for name in ["XDG_RUNTIME_DIR", "XDG_STATE_HOME"] {
            let value = command.get_envs().find(|(variable, _)| *variable == name).and_then(|(_, value)| value);
            let pair = format!("{name}={}", value.unwrap().to_str().unwrap());
            command.args(["-e", &pair]);
        }
        Some(serde_json::from_str(&said(&mut command, &world)).unwrap())
    };
    let Some(tools) = inspect(&["--method", "tools/list"]) else { return };
    assert_eq!(tools["tools"][0]["name"], "execute_python_code");
    let call = |code: &str| {
        let argument = format!("source_code={code}");
        inspect(&["--method", "tools/call", "--tool-name", "execute_python_code", "--tool-arg", &argument]).unwrap()
    };
    let result = call("open('x.txt', 'w').write('content'); print('hello')");
    assert_eq!(outcome(&result)["stdout"], "hello\n");
    let uri = linked(&result);
    let read = inspect(&["--method", "resources/read", "--uri", &uri]).unwrap();
    assert_eq!(read["contents"][0]["text"], "content");
    assert_eq!(outcome(&call("1/0"))["exit_code"], 1);
    assert_eq!(call(PICTURE)["content"][1]["type"], "image");
    until("its shims have left", || world.shims().is_empty());
}

#[test]
fn claude_code_reports_that_it_is_connected() {
    let world = World::new();
    let claude = |arguments: &[&str]| -> Option<String> {
        let mut command = client_software::binary(&world, "@anthropic-ai/claude-code-linux-x64/claude")?;
        // No word to anybody outside.
        command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").env("DISABLE_AUTOUPDATER", "1");
        command.current_dir(world.path());
        Some(said(command.args(arguments), &world))
    };
    if claude(&["mcp", "add", "--scope", "user", "python-interpreter", "--", shim()]).is_none() {
        return;
    }
    let list = claude(&["mcp", "list"]).unwrap();
    let line = list.lines().find(|line| line.starts_with("python-interpreter")).unwrap_or_else(|| panic!("{list}"));
    assert!(line.contains("Connected"), "{list}");
    until("its shims have left", || world.shims().is_empty());
}

/// What a command prints that ends well and has nothing to complain of.
fn said(command: &mut Command, world: &World) -> String {
    let (stdout, stderr) = (world.path().join("client.out"), world.path().join("client.err"));
    command.stdin(std::process::Stdio::null());
    command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
    let status = Running::start(command).unwrap().ended_within(PATIENCE);
    let (stdout, stderr) = (fs::read_to_string(stdout).unwrap(), fs::read_to_string(stderr).unwrap());
    assert!(status.is_some_and(|status| status.success()), "the client ended with {status:?}: {stdout}{stderr}");
    assert_eq!(stderr, "", "neither the client nor the shim has anything to complain of");
    stdout
}

/// The URI of the first file that a result links to.
fn linked(result: &Value) -> String {
    let mut items = result["content"].as_array().unwrap().iter();
    items.find(|item| item["type"] == "resource_link").unwrap()["uri"].as_str().unwrap().to_owned()
}

/// A program that leaves the smallest of pictures.
const PICTURE: &str = "import base64; open('dot.png', 'wb').write(base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='))";

/// What a client says of its whole session, in which it lists the tool, runs programs, reads a file, is refused, and gives a call up.
fn expect_right_report(sdk: Sdk, protocol_version: &str) {
    let world = World::new();
    let programs = json!({
        "greeting": "print('hello world')",
        "exception": "print('before')\n1 / 0",
        "exit": "import sys; sys.exit(3)",
        "file": "with open('/workspace/result.txt', 'w') as file: file.write('6 * 7')",
        "picture": PICTURE,
        "text": format!("import sys\nprint('{TEXT}')\nprint('{TEXT}'[::-1], file=sys.stderr)"),
    });
    let Some(mut client) = sdk.client(&world, &programs) else { return };
    let report = said(&mut client, &world);
    until("the client's shims have left", || world.shims().is_empty());
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    look_at_results(&report, protocol_version);
    assert_eq!(report["read"], "6 * 7", "the file that is linked");
    let picture = &report["results"]["picture"]["content"][1];
    assert_eq!((&picture["type"], &picture["mimeType"]), (&json!("image"), &json!("image/png")), "{report}");
    // The embedded interpreter's bound is 50 ms; here a client, and other tests beside it, take their time as well.
    assert!(report["seconds_to_cancel"].as_f64().unwrap() < GRACE.as_secs_f64(), "{}", report["seconds_to_cancel"]);
    assert_eq!(outcome(&report["afterwards"])["stdout"], "afterwards\n", "after a call that was given up");
}

fn look_at_results(report: &Value, protocol_version: &str) {
    assert_eq!(report["protocol_version"], protocol_version, "the negotiated version");
    assert_eq!(report["tools"], json!(["execute_python_code"]), "the list of tools");

    let result = |name: &str| outcome(&report["results"][name]);
    assert_eq!(result("greeting"), json!({"exit_code": 0, "files": {}, "stderr": "", "stdout": "hello world\n"}));
    let exception = result("exception");
    assert_eq!((&exception["exit_code"], &exception["stdout"]), (&json!(1), &json!("before\n")), "an exception");
    let traceback = exception["stderr"].as_str().unwrap();
    assert!(traceback.starts_with("Traceback (most recent call last):\n"), "a traceback: {traceback}");
    assert!(traceback.ends_with("ZeroDivisionError: division by zero\n"), "the exception last: {traceback}");
    assert_eq!(result("exit"), json!({"exit_code": 3, "files": {}, "stderr": "", "stdout": ""}));
    let file = result("file");
    let id = file["files"]["/workspace/result.txt"].as_str().unwrap_or_else(|| panic!("the file's id: {file}"));
    assert!(is_file_id(id), "a file id: {id}");
    let files = json!({"/workspace/result.txt": id});
    assert_eq!(file, json!({"exit_code": 0, "files": files, "stderr": "", "stdout": ""}));
    let text = result("text");
    assert_eq!(text["stdout"], format!("{TEXT}\n"), "text beyond ASCII");
    assert_eq!(text["stderr"], TEXT.chars().rev().chain(['\n']).collect::<String>(), "text beyond ASCII");

    let together = report["together"].as_array().unwrap();
    let outputs: Vec<Value> = together.iter().map(|result| outcome(result)["stdout"].clone()).collect();
    assert_eq!(outputs, ["one\n", "two\n"], "two calls at the same time");

    assert_eq!(report["missing_argument"]["code"], -32602, "{report}");
    let message = report["missing_argument"]["message"].as_str().unwrap();
    assert!(message.contains("source_code is missing"), "the argument is named: {message}");
    let seconds = report["seconds_to_close"].as_f64().unwrap();
    assert!(seconds < GRACE.as_secs_f64(), "the shim left only when it was killed, after {seconds} s");
}

/// The structured content of the result of a program that was run, which is the same as the text.
fn outcome(result: &Value) -> Value {
    let structured = &result["structuredContent"];
    let text = &result["content"][0];
    assert_eq!(text["type"], "text", "{result}");
    assert_eq!(&serde_json::from_str::<Value>(text["text"].as_str().unwrap()).unwrap(), structured, "{result}");
    let fields: Vec<&String> = structured.as_object().map(Map::keys).into_iter().flatten().collect();
    assert_eq!(fields, ["exit_code", "files", "stderr", "stdout"], "{result}");
    assert_ne!(result["isError"], true, "a program that ran is no error: {result}");
    let interpreter = &result["_meta"]["python-interpreter-mcp/interpreter"];
    assert_eq!(interpreter, "embedded", "meant for the embedded interpreter, not for a service on this machine");
    structured.clone()
}

#[test]
fn a_hundred_shims_share_one_daemon() {
    const SHIMS: usize = 100;
    let world = World::new();
    let start = Arc::new(Barrier::new(SHIMS));
    let (sender, answered) = mpsc::channel();
    for number in 0..SHIMS {
        let (mut shim, start, sender) = (world.command(shim()), start.clone(), sender.clone());
        thread::spawn(move || {
            start.wait();
            let mut client = RawClient::launch(&mut shim);
            let result = client.initialize_and_call(&format!("print({number} * 7)"));
            // The test may have failed already.
            let _ = sender.send((number, result, client));
        });
    }
    drop(sender);
    let (mut clients, mut results) = (Vec::new(), Vec::new());
    for count in 0..SHIMS {
        let (number, result, client) =
            answered.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("only {count} of {SHIMS} shims answered"));
        results.push((number, result));
        clients.push(client);
    }
    let launched: BTreeSet<u32> = clients.iter().map(RawClient::id).collect();
    assert_eq!(BTreeSet::from_iter(world.shims()), launched, "every shim is there for its client");
    let daemons = world.daemons();
    assert_eq!(daemons.len(), 1, "one daemon for all: {daemons:?}");
    for (number, result) in results {
        assert_eq!(outcome(&result)["stdout"], format!("{}\n", number * 7), "each has its own answer");
    }

    for client in &mut clients {
        client.close();
    }
    let closed = Instant::now();
    for client in &mut clients {
        let remaining = GRACE.saturating_sub(closed.elapsed());
        let status = client.process.ended_within(remaining).expect("a shim leaves when its client closes its input");
        assert_eq!(status.code(), Some(0), "a shim that is no longer needed");
    }
    assert!(world.shims().is_empty(), "no shim is left: {:?}", world.shims());
    assert_eq!(world.daemons(), daemons, "the daemon stays for the next client");
}

#[test]
fn no_process_is_left_when_a_client_dies() {
    for sdk in [PYTHON, TYPESCRIPT] {
        let world = World::new();
        let name = format!("dying-{}", std::process::id());
        // The program calls itself something that no other process is called: prctl(PR_SET_NAME).
        let busy = format!("import ctypes\nctypes.CDLL(None).prctl(15, b'{name}')\nwhile True: pass");
        let Some(mut client) = sdk.client(&world, &json!({ "busy": busy })) else { continue };
        let mut client = Running::start(&mut client).unwrap();
        until("the program runs", || named(&name).len() == 1);
        let daemons = world.daemons();
        assert_eq!((world.shims().len(), daemons.len()), (1, 1), "{sdk:?}");

        client.0.kill().unwrap();
        until("the client's shim has left", || world.shims().is_empty());
        until("the program has ended", || named(&name).is_empty());
        let mut other = RawClient::launch(&mut world.command(shim()));
        let result = other.initialize_and_call("print('still here')");
        assert_eq!(outcome(&result)["stdout"], "still here\n", "{sdk:?}");
        assert_eq!(world.daemons(), daemons, "{sdk:?}: the daemon that was there before");
    }
}
