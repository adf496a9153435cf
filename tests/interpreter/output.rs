//! What a program prints: as it comes, within its bounds, and as a file where an answer does not hold all of it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use crate::support::interpreter::Interpreter;
use serde_json::{Value, json};

const AS_EVENTS: [&str; 2] = ["Content-Type: application/json", "Accept: application/x-ndjson"];

/// Sends a request and reads the head of the answer.
fn start(interpreter: &Interpreter, request: &Value) -> (String, BufReader<TcpStream>) {
    let stream = interpreter.send("POST", "/v1/execute", &AS_EVENTS, request.to_string().as_bytes());
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    (head, reader)
}

/// The next event of a chunked answer; each is a chunk of its own.
fn event(reader: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    if usize::from_str_radix(line.trim(), 16).unwrap() == 0 {
        return None;
    }
    line.clear();
    reader.read_line(&mut line).unwrap();
    reader.read_line(&mut String::new()).unwrap();
    Some(serde_json::from_str(&line).unwrap())
}

#[test]
fn output_is_told_as_it_comes_and_the_result_last() {
    let interpreter = Interpreter::start();
    // It goes on only when something has been read: what is told late would never be told.
    let code = "import os, sys, time
os.write(1, b'first\\n')
while not os.path.exists('/tmp/go'):
    time.sleep(0.01)
    if time.monotonic() > START + 1: open('/tmp/go', 'w').close()
os.write(2, b'second\\n')
open('made.txt', 'w').write('x')"
        .replace("import os", "import time; START = time.monotonic()\nimport os");
    let (head, mut reader) = start(&interpreter, &json!({ "source_code": code }));
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: application/x-ndjson"), "{head}");
    assert_eq!(event(&mut reader).unwrap(), json!({ "stdout": "first\n" }));
    assert!(interpreter.slots("in_use") == 1, "the program still runs");
    assert_eq!(event(&mut reader).unwrap(), json!({ "stderr": "second\n" }));
    let last = event(&mut reader).unwrap();
    assert_eq!((&last["outcome"], &last["result"]["stdout"]), (&json!("finished"), &json!("first\n")), "{last}");
    assert!(last["result"]["files"]["/workspace/made.txt"].is_string(), "{last}");
    assert_eq!(event(&mut reader), None);
    interpreter.works();
}

#[test]
fn what_fails_before_it_runs_is_an_ordinary_error() {
    let interpreter = Interpreter::start();
    let (head, _) = start(&interpreter, &json!({ "source_code": "", "files": { "/workspace/x": "0" } }));
    assert!(head.starts_with("HTTP/1.1 422"), "{head}");
}

#[test]
fn a_reader_that_hangs_up_takes_the_program_along() {
    let interpreter = Interpreter::start();
    let request = json!({ "source_code": "print('x')\nwhile True: pass" });
    let (_, mut reader) = start(&interpreter, &request);
    event(&mut reader).unwrap();
    drop(reader);
    interpreter.wait_until_empty();
    interpreter.works();
}

#[test]
fn a_reader_that_does_not_read_makes_the_program_wait_and_not_the_interpreter_grow() {
    let interpreter = Interpreter::start();
    let flood = "import sys\nwhile True: sys.stdout.write('x' * 65536)";
    let (_, reader) = start(&interpreter, &json!({ "source_code": flood, "timeout_seconds": 3 }));
    let resident = |interpreter: &Interpreter| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", interpreter.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    interpreter.execute("import time; time.sleep(2)");
    assert!(resident(&interpreter) < 100_000, "{} kB", resident(&interpreter));
    drop(reader);
    interpreter.works();
}

#[test]
fn the_whole_of_long_output_is_a_file() {
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_OUTPUT", "4K")]);
    let result =
        interpreter.execute("for number in range(10000): print(number)\nopen('stdout.txt', 'w').write('mine')");
    let whole: String = (0..10000).map(|number| format!("{number}\n")).collect();
    let id = result["files"]["/workspace/stdout-2.txt"].as_str().unwrap();
    assert_eq!(interpreter.request("GET", &format!("/v1/files/{id}"), &[], b"").body, whole.as_bytes());
    let expected = format!("Output: all {} bytes of stdout are the file /workspace/stdout-2.txt\n", whole.len());
    assert_eq!(result["stderr"], expected);
    let stdout = result["stdout"].as_str().unwrap();
    assert!(stdout.starts_with("0\n1\n") && stdout.ends_with("9999\n") && stdout.len() < 4200, "{stdout}");
    assert!(stdout.contains(&format!("[{} bytes left out]", whole.len() - 4096)));
}

#[test]
fn of_endless_output_the_beginning_is_a_file() {
    let interpreter = Interpreter::start_with(&[
        ("PYTHON_INTERPRETER_MCP_OUTPUT", "4K"),
        ("PYTHON_INTERPRETER_MCP_OUTPUT_FILE", "64K"),
    ]);
    let result = interpreter.execute("import sys; sys.stderr.write('y' * 1000000)");
    let id = result["files"]["/workspace/stderr.txt"].as_str().unwrap();
    assert_eq!(interpreter.request("GET", &format!("/v1/files/{id}"), &[], b"").body, vec![b'y'; 65536]);
    let stderr = result["stderr"].as_str().unwrap();
    assert!(
        stderr.ends_with("Output: the first 65536 of 1000000 bytes of stderr are the file /workspace/stderr.txt\n")
    );
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_that_is_said() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute("import os; os.write(1, b'a\\xffb\\n')");
    assert_eq!(result["stdout"], "a\u{fffd}b\n");
    let line = "Output: stdout held bytes that are not UTF-8; each was replaced by U+FFFD\n";
    assert_eq!(result["stderr"], line);
    // What was printed as that character is no replacement.
    assert_eq!(interpreter.execute("print('\\ufffd')")["stderr"], "");
}

#[test]
fn output_is_shortened_beyond_what_is_asked_for_and_counted_from_the_whole() {
    let interpreter = Interpreter::start();
    let run = |code: &str| {
        interpreter.run(&json!({ "source_code": code, "output_characters": 30_000 }))["stdout"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(run("print('x' * 29_999)"), format!("{}\n", "x".repeat(29_999)));
    for length in [30_001, 10_000_000] {
        let stdout = run(&format!("import sys; sys.stdout.write('x' * {length})"));
        let (head, rest) = stdout.split_once("\n[").unwrap();
        let (omitted, tail) = rest.split_once(" bytes left out]\n").unwrap();
        assert_eq!(omitted.parse::<usize>().unwrap() + head.len() + tail.len(), length);
    }
}

#[test]
fn the_whole_of_long_binary_output_is_what_was_written() {
    let interpreter = Interpreter::start();
    let code = "import os; os.write(1, bytes(range(256)) * 200)";
    let result = interpreter.run(&json!({ "source_code": code, "output_characters": 1000 }));
    let id = result["files"]["/workspace/stdout.txt"].as_str().unwrap();
    let whole: Vec<u8> = (0..=255).cycle().take(256 * 200).collect();
    assert!(interpreter.request("GET", &format!("/v1/files/{id}"), &[], b"").body == whole);
}
