//! The tool as a client sees it, with the embedded interpreter behind it: its description, files and pictures in both directions,
//! progress, cancellation, and what wrong arguments get.

use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Session};
use crate::support::until;
use serde_json::{Value, json};

fn daemon() -> Daemon {
    Daemon::start_with(&[], &[])
}

/// A call with more than its source code.
fn call(session: &mut Session, arguments: Value) -> Value {
    let answer = session.request("tools/call", json!({"name": "execute_python_code", "arguments": arguments}));
    assert!(answer["error"].is_null(), "{answer}");
    answer["result"].clone()
}

fn refusal(session: &mut Session, method: &str, parameters: Value) -> (i64, String) {
    let answer = session.request(method, parameters);
    let error = &answer["error"];
    (error["code"].as_i64().unwrap_or_else(|| panic!("{answer}")), error["message"].as_str().unwrap().to_owned())
}

fn items<'a>(result: &'a Value, kind: &str) -> Vec<&'a Value> {
    result["content"].as_array().unwrap().iter().filter(|item| item["type"] == kind).collect()
}

const PICTURE: &str = "import struct, zlib
def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
def png(width, height):
    rows = (b'\\0' + bytes(3 * width)) * height
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
";

#[test]
fn the_description_says_what_the_interpreter_can_do() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let tools = session.request("tools/list", json!({}))["result"].clone();
    let tool = &tools["tools"][0];
    let description = tool["description"].as_str().unwrap();
    for part in ["Python 3.", "There is no network", "300 s, 2 GiB of memory, 512 MiB of files", "json"] {
        assert!(description.contains(part), "{part}: {description}");
    }
    assert_eq!(tool["annotations"]["openWorldHint"], false);
    assert_eq!(tool["inputSchema"]["properties"]["timeout_seconds"]["maximum"], 300.0);
    assert!(tool["icons"][0]["src"].as_str().unwrap().starts_with("data:image/svg+xml;base64,"));
    assert_eq!(session.request("tools/list", json!({}))["result"], tools, "the same for the same interpreter");

    let open = Daemon::start_with(
        &[("PYTHON_INTERPRETER_MCP_NETWORK", "host"), ("PYTHON_INTERPRETER_MCP_MOUNT", "/usr/share:/data")],
        &["--timeout", "60"],
    );
    let tool = open.connect().request("tools/list", json!({}))["result"]["tools"][0].clone();
    let description = tool["description"].as_str().unwrap();
    for part in ["The network of the user's machine can be reached", "can be read: /data.", "60 s"] {
        assert!(description.contains(part), "{part}: {description}");
    }
    assert_eq!(tool["annotations"]["openWorldHint"], true);
}

#[test]
fn a_client_of_the_legacy_era_is_told_when_the_description_changes() {
    // The first list does not wait long for an interpreter that does not answer: its Python sleeps.
    let slow = tempfile::Builder::new().prefix("slow-").tempdir_in("/tmp").unwrap();
    let python = slow.path().join("python3");
    std::fs::write(&python, "#!/bin/sh\nsleep 7\nexec /usr/bin/python3 \"$@\"\n").unwrap();
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let daemon = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_PYTHON", python.to_str().unwrap())], &[]);
    let mut session = daemon.connect();
    session.initialize("2025-11-25");
    let before = session.request("tools/list", json!({}))["result"]["tools"][0]["description"].clone();
    assert!(!before.as_str().unwrap().contains("Python 3."), "{before}");
    let told = session.read();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    let after = session.request("tools/list", json!({}))["result"]["tools"][0]["description"].clone();
    assert!(after.as_str().unwrap().contains("Python 3."), "{after}");
}

#[test]
fn files_come_out_as_links_and_go_in_by_id_or_uri() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let code = "import os; os.mkdir('sub'); open('sub/table é.csv', 'w').write('a,b\\n1,é\\n'); open('raw', 'wb').write(b'\\xff\\0')";
    let result = call(&mut session, json!({ "source_code": code }));
    let files = &result["structuredContent"]["files"];
    let id = files["/workspace/sub/table é.csv"].as_str().unwrap();
    let links = items(&result, "resource_link");
    let uri = format!("python-interpreter://files/{id}/table%20%C3%A9.csv");
    let link = links.iter().find(|link| link["uri"] == uri).unwrap_or_else(|| panic!("{links:?}"));
    assert_eq!((&link["mimeType"], &link["title"]), (&json!("text/csv"), &json!("/workspace/sub/table é.csv")));

    let read =
        |session: &mut Session, uri: &str| session.request("resources/read", json!({ "uri": uri }))["result"].clone();
    let table = read(&mut session, &uri);
    assert_eq!(table["contents"][0], json!({"uri": uri, "mimeType": "text/csv", "text": "a,b\n1,é\n"}));
    assert!(table["ttlMs"].as_u64().unwrap() > 0);
    let raw = format!("python-interpreter://files/{}/raw", files["/workspace/raw"].as_str().unwrap());
    assert_eq!(read(&mut session, &raw)["contents"][0]["blob"], "/wA=");
    let part = read(&mut session, &format!("{uri}?offset=4&length=3"));
    assert_eq!(part["contents"][0]["text"], "1,", "without the half of a character at its end");

    for reference in [id, &uri] {
        let files = json!({"/workspace/in/x.csv": reference});
        let result = call(&mut session, json!({"source_code": "print(open('in/x.csv').read())", "files": files}));
        assert_eq!(result["structuredContent"]["stdout"], "a,b\n1,é\n\n");
        assert_eq!(
            result["structuredContent"]["files"],
            json!({}),
            "what was given and is unchanged does not come back"
        );
    }

    let listed = session.request("resources/list", json!({}))["result"].clone();
    let listed: Vec<&Value> = listed["resources"].as_array().unwrap().iter().map(|resource| &resource["uri"]).collect();
    assert!(listed.contains(&&json!(uri)) && listed.contains(&&json!(raw)), "{listed:?}");
    let templates = session.request("resources/templates/list", json!({}))["result"].clone();
    assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "python-interpreter://files/{id}/{name}");
    let template = json!({"type": "ref/resource", "uri": "python-interpreter://files/{id}/{name}"});
    let argument = json!({"name": "id", "value": &id[..5]});
    let completed = session.request("completion/complete", json!({"ref": template, "argument": argument}));
    assert_eq!(completed["result"]["completion"]["values"], json!([id]));
}

#[test]
fn what_is_no_file_of_this_user_is_refused() {
    let daemon = daemon();
    let mut session = daemon.connect();
    for uri in [
        "file:///etc/passwd",
        "python-interpreter://files/../../etc/passwd",
        "python-interpreter://files/unknown/x.txt",
        &format!("python-interpreter://files/{}/x", "0".repeat(64)),
        "python-interpreter://files/x?length=99999999",
        "nonsense",
    ] {
        let (code, message) = refusal(&mut session, "resources/read", json!({ "uri": uri }));
        assert_eq!(code, -32602, "{uri}: {message}");
    }
    let unknown = json!({"source_code": "print('RAN')", "files": {"/workspace/a": "0".repeat(64)}});
    let result = call(&mut session, unknown);
    assert_eq!((&result["isError"], &result["structuredContent"]["stdout"]), (&json!(true), &json!("")));
    assert!(
        result["structuredContent"]["stderr"].as_str().unwrap().contains("there is no file with the id"),
        "{result}"
    );
}

#[test]
fn pictures_are_shown_once_and_within_bounds() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let code =
        format!("{PICTURE}open('small.png', 'wb').write(png(20, 10))\nopen('big.png', 'wb').write(png(5000, 3000))");
    let code = format!("{code}\nopen('fake.png', 'w').write('no picture')\nopen('drawing.svg', 'w').write('<svg/>')");
    let result = call(&mut session, json!({ "source_code": code }));
    let images = items(&result, "image");
    assert_eq!(images.len(), 2, "{result}");
    assert!(images.iter().all(|image| image["mimeType"] == "image/png"));
    let total: usize = images.iter().map(|image| image["data"].as_str().unwrap().len()).sum();
    assert!(total <= 1 << 20, "{total}");
    let text = result["content"][0]["text"].as_str().unwrap();
    let shown = images[0]["data"].as_str().unwrap();
    assert!(!text.contains(shown) && !result["structuredContent"].to_string().contains(shown));
    assert_eq!(items(&result, "resource_link").len(), 4);
    // Width and height are at bytes 16 to 24, which are characters 21 to 32 of base64.
    use base64::Engine as _;
    let widths: Vec<u32> = images
        .iter()
        .map(|image| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
            u32::from_be_bytes(bytes[16..20].try_into().unwrap())
        })
        .collect();
    assert!(widths.contains(&1568) && widths.contains(&20), "{widths:?}");
}

#[test]
fn pictures_come_in_the_order_of_their_numbers_and_those_left_out_are_named() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let code = format!(
        "{PICTURE}import sys
for number in range(1, 13): open(f'plot-{{number}}.png' if number > 1 else 'plot.png', 'wb').write(png(number, 1))
sys.stderr.write('own')"
    );
    let result = call(&mut session, json!({ "source_code": code }));
    use base64::Engine as _;
    let width = |image: &&Value| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
        u32::from_be_bytes(bytes[16..20].try_into().unwrap())
    };
    let widths: Vec<u32> = items(&result, "image").iter().map(width).collect();
    assert_eq!(widths, (1..=10).collect::<Vec<_>>());
    let expected = "own
Picture not shown: /workspace/plot-11.png: a result shows 10
Picture not shown: /workspace/plot-12.png: a result shows 10
";
    assert_eq!(result["structuredContent"]["stderr"], expected);
    let claimed = format!("{PICTURE}open('huge.png', 'wb').write(png(7000, 6000))");
    let result = call(&mut session, json!({ "source_code": claimed }));
    let expected = "Picture not shown: /workspace/huge.png: 7000 × 6000 pixels are too many\n";
    assert_eq!(result["structuredContent"]["stderr"], expected);
}

#[test]
fn output_over_what_clients_take_is_a_file_as_a_whole() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let result = call(&mut session, json!({"source_code": "for n in range(20000): print('line', n)\n1/0"}));
    let structured = &result["structuredContent"];
    let (stdout, stderr) = (structured["stdout"].as_str().unwrap(), structured["stderr"].as_str().unwrap());
    assert!(stdout.len() + stderr.len() <= 30_000, "{} + {}", stdout.len(), stderr.len());
    assert!(stdout.starts_with("line 0\n") && stdout.ends_with("line 19999\n"), "beginning and end");
    assert!(stdout.contains(" bytes left out]") && stderr.contains("ZeroDivisionError"), "{stderr}");
    assert!(stderr.contains("bytes of stdout are the file /workspace/stdout.txt"), "{stderr}");
    let uri = format!(
        "python-interpreter://files/{}/stdout.txt",
        structured["files"]["/workspace/stdout.txt"].as_str().unwrap()
    );
    let whole = session.request("resources/read", json!({ "uri": uri }))["result"].clone();
    let expected: String = (0..20000).map(|number| format!("line {number}\n")).collect();
    assert!(whole["contents"][0]["text"] == expected);
}

#[test]
fn progress_tells_the_last_line_until_the_answer_and_not_beyond() {
    let daemon = daemon();
    let mut session = daemon.connect();
    session.call("1");
    for token in [json!("token"), json!(7)] {
        let code = "import time\nfor step in range(5):\n    print(f'step {step}')\n    time.sleep(1)\nprint('done')";
        let mut message = session.call_message(json!("a"), code);
        message["params"]["_meta"]["progressToken"] = token.clone();
        session.send(&message);
        let mut progress = Vec::new();
        let answer = loop {
            let message = session.read();
            if message["id"] == "a" {
                break message;
            }
            assert_eq!(
                (&message["method"], &message["params"]["progressToken"]),
                (&json!("notifications/progress"), &token)
            );
            progress.push((message["params"]["progress"].as_f64().unwrap(), message["params"]["message"].clone()));
        };
        assert_eq!(answer["result"]["structuredContent"]["stdout"].as_str().unwrap().lines().last(), Some("done"));
        assert!(progress.len() >= 2, "{progress:?}");
        assert!(progress.is_sorted_by(|one, next| one.0 < next.0), "{progress:?}");
        assert!(progress.iter().all(|(_, message)| message.as_str().unwrap().starts_with("step ")), "{progress:?}");
    }
    // Nothing comes after the answer: the next message is the answer to the next request.
    assert_eq!(session.request("tools/list", json!({}))["result"]["tools"][0]["name"], "execute_python_code");
}

#[test]
fn a_cancelled_call_ends_its_program_at_once_and_is_not_answered() {
    let daemon = daemon();
    let mut session = daemon.connect();
    session.call("1");
    let name = format!("cancel-{}", std::process::id());
    let busy = |name: &str| {
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            std::fs::read_to_string(process.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        })
    };
    session.send_call(
        "gone",
        &format!("import ctypes, os\nctypes.CDLL(None).prctl(15, b'{name}')\nos.fork()\nwhile True: pass"),
    );
    until("the program runs", || busy(&name));
    let started = Instant::now();
    session.cancel("gone");
    until("the program has ended", || !busy(&name));
    // The bound is 50 ms; on a machine that others use as well, this only shows that nothing waits for a time of its own.
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(session.call("print(2)")["structuredContent"]["stdout"], "2\n");
}

#[test]
fn wrong_arguments_are_refused_by_name_and_nothing_runs() {
    let daemon = daemon();
    let mut session = daemon.connect();
    for (arguments, part) in [
        (json!({"source_code": "1", "timeout_seconds": "5"}), "timeout_seconds must be a number"),
        (json!({"source_code": "1", "timeout_seconds": -1}), "timeout_seconds must be more than 0"),
        (json!({"source_code": "1", "timeout_seconds": 1e9}), "at most 300"),
        (json!({"source_code": "1", "env": {"A": 1}}), "env[\"A\"] must be a string"),
        (json!({"source_code": "1", "files": {"/etc/x": "id"}}), "below /workspace"),
        (json!({"source_code": "1", "files": {"/workspace/x": "../y"}}), "neither a file id"),
    ] {
        let (code, message) =
            refusal(&mut session, "tools/call", json!({"name": "execute_python_code", "arguments": arguments}));
        assert_eq!(code, -32602);
        assert!(message.contains(part), "{part}: {message}");
    }
    let limited = call(
        &mut session,
        json!({"source_code": "import os\nprint(os.environ['A'])\nwhile True: pass", "timeout_seconds": 1, "env": {"A": "b"}}),
    );
    assert_eq!(
        (&limited["structuredContent"]["exit_code"], &limited["structuredContent"]["stdout"]),
        (&json!(124), &json!("b\n"))
    );
}

#[test]
fn clients_share_the_places_to_run_in() {
    let daemon = Daemon::start_with(&[], &["--concurrency", "1"]);
    let mut greedy = daemon.connect();
    greedy.call("1");
    for number in 0..20 {
        greedy.send_call(number, "import time; time.sleep(0.1)");
    }
    let mut other = daemon.connect();
    assert_eq!(other.call("print('mine')")["structuredContent"]["stdout"], "mine\n");
    let waiting = (0..20).map(|_| greedy.read()).collect::<Vec<_>>();
    assert!(waiting.iter().all(|answer| answer["result"]["isError"] == false), "all are answered");
}

#[test]
fn a_service_s_files_are_read_from_the_directory_that_is_named() {
    use crate::support::fake_interpreter::{Answer, FakeInterpreter};
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("id-1"), "of the service").unwrap();
    let interpreter = FakeInterpreter::start();
    let url = interpreter.url();
    let answer = json!({"stdout": "", "stderr": "", "exit_code": 0, "files": {"/workspace/a.txt": "id-1"}});
    let with = Daemon::start_with(
        &[("PYTHON_INTERPRETER_MCP_URL", &url), ("PYTHON_INTERPRETER_MCP_FILES", directory.path().to_str().unwrap())],
        &[],
    );
    interpreter.answer_next(Answer::Json(answer.clone()));
    let mut session = with.connect();
    let result = session.call("1");
    let uri = items(&result, "resource_link")[0]["uri"].clone();
    let read = session.request("resources/read", json!({ "uri": uri }));
    assert_eq!(read["result"]["contents"][0]["text"], "of the service");

    let without = Daemon::start_with(&[("PYTHON_INTERPRETER_MCP_URL", &url)], &[]);
    interpreter.answer_next(Answer::Json(answer));
    let mut session = without.connect();
    let result = session.call("1");
    assert_eq!(
        (items(&result, "resource_link").len(), &result["structuredContent"]["files"]["/workspace/a.txt"]),
        (0, &json!("id-1"))
    );
    let (code, message) = refusal(&mut session, "resources/read", json!({ "uri": uri }));
    assert!(code == -32602 && message.contains("PYTHON_INTERPRETER_MCP_FILES"), "{message}");
}

#[test]
fn a_trace_goes_on_to_the_interpreter_and_into_the_log() {
    use crate::support::fake_interpreter::FakeInterpreter;
    let interpreter = FakeInterpreter::start();
    let daemon = Daemon::start(&interpreter);
    let mut session = daemon.connect();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut message = session.call_message(json!(1), "1");
    message["params"]["_meta"]["traceparent"] = json!(parent);
    message["params"]["_meta"]["tracestate"] = json!("vendor=1");
    session.send(&message);
    assert_eq!(session.read()["id"], 1);
    let head = &interpreter.requests()[0].head;
    assert!(
        head.contains(&format!("traceparent: {parent}\r\n")) && head.contains("tracestate: vendor=1\r\n"),
        "{head}"
    );
    until("the log names the trace", || daemon.stderr().contains("0af7651916cd43dd8448eb211c80319c"));
    // What only our own interpreter knows a service is not sent.
    assert!(!head.contains("x-execution-id"), "{head}");
}
