//! A daemon that cannot start, or has no place: its clients learn what is wrong, at once and from it alone.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    time::Instant,
};

use crate::support::launcher::shim;
use crate::support::raw_client::RawClient;
use crate::support::world::{Running, World};
use crate::support::{PATIENCE, until};
use serde_json::{Value, json};

fn request(id: &str, method: &str) -> String {
    format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}}))
}

fn configure(world: &World, text: &str) {
    let folder = world.path().join(".config/python-interpreter-mcp");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), text).unwrap();
}

/// What a shim that is given `input` writes until it leaves, as JSON, and what it says on stderr.
fn exchange(command: &mut Command, input: &str) -> (Vec<Value>, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shim = Running::start(command).unwrap();
    shim.0.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let (mut output, mut errors) = (String::new(), String::new());
    shim.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    shim.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    (output.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), errors)
}

#[test]
fn a_mistake_in_the_configuration_is_what_each_request_is_answered_with() {
    let world = World::new();
    configure(&world, "timeuot = 3\n");
    let input = request("a", "server/discover") + &request("b", "tools/list");
    let started = Instant::now();
    let (answers, errors) = exchange(&mut world.command(shim()), &input);
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(answers.iter().map(|answer| &answer["id"]).collect::<Vec<_>>(), ["a", "b"]);
    for answer in &answers {
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("config.toml:1: ") && message.contains("timeout"), "{message}");
        assert!(message.ends_with("Nothing was run.") && !message.contains("may or may not"), "{message}");
        assert!(!message.contains("os error") && !message.contains('\n'), "{message}");
    }
    assert_eq!(errors, "");
}

#[test]
fn after_a_mistake_was_mended_the_same_client_goes_on() {
    let world = World::new();
    configure(&world, "timeout = \"no time\"\n");
    let mut client = RawClient::launch(&mut world.command(shim()));
    let refused = client.try_initialize().unwrap_err();
    assert!(refused["message"].as_str().unwrap().contains("config.toml:1: "), "{refused}");
    configure(&world, "timeout = 30\n");
    until("the next daemon serves", || match client.try_initialize() {
        Ok(()) => true,
        Err(error) => {
            assert!(error["message"].as_str().unwrap().contains("config.toml:1: "), "{error}");
            false
        }
    });
    assert_eq!(client.call("print(1)")["structuredContent"]["stdout"], "1\n");
}

#[test]
fn input_from_a_file_is_answered_to_its_end() {
    let world = World::new();
    let call = json!({
        "jsonrpc": "2.0", "id": "slow", "method": "tools/call",
        "params": {
            "name": "execute_python_code", "arguments": {"source_code": "import time; time.sleep(2); print(6 * 7)"},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "file", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    });
    let path = world.path().join("input");
    fs::write(&path, format!("{call}\n")).unwrap();
    let mut command = world.command(shim());
    let output = command.stdin(fs::File::open(&path).unwrap()).output().unwrap();
    assert!(output.status.success());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["id"], &answer["result"]["structuredContent"]["stdout"]), (&json!("slow"), &json!("42\n")));
}
