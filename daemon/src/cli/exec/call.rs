//! One `tools/call` over the daemon's socket, as a client of the newest protocol revision makes it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, bail};
use python_interpreter::executor::longest_answer;
use python_interpreter::limits::MAX_TIMEOUT_SECONDS;
use python_interpreter::wire::ExecuteResponse;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::tools::execute_python_code::NAME;
use crate::tools::{INTERPRETER_KEY, OUTPUT_CHARACTERS_KEY, OUTPUT_STREAM_KEY};

const PROTOCOL_VERSION: &str = "2026-07-28";
/// An interpreter's answer has at most 64 MiB. The result has its text twice, once escaped twice.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024 * 1024;
/// The daemon ends each execution itself. This only has to be longer than its longest limit.
const LONGEST_LIMIT: Duration = Duration::from_secs(MAX_TIMEOUT_SECONDS);
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

pub struct ToolResult {
    pub response: ExecuteResponse,
    pub is_error: bool,
    /// A URL, or "embedded".
    pub interpreter: String,
}

/// `printed` gets the program's output while it runs, as objects with `stdout` or `stderr`.
pub fn execute(
    mut stream: UnixStream,
    source_code: &str,
    mut printed: impl FnMut(Value),
) -> anyhow::Result<ToolResult> {
    stream.set_read_timeout(Some(longest_answer(LONGEST_LIMIT) + Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(WRITE_DEADLINE))?;
    let mut request = request(source_code).to_string();
    request.push('\n');
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut answer = loop {
        let mut line = Vec::new();
        (&mut reader).take(MAX_ANSWER_BYTES).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            bail!("the connection ended before the answer was complete");
        }
        let mut message: Value = serde_json::from_slice(&line).context("the answer is not JSON")?;
        if message.get("method").is_none() {
            break message;
        }
        if let Some(meta) = message.pointer_mut("/params/_meta")
            && let Some(output) = meta.get_mut(OUTPUT_STREAM_KEY)
        {
            printed(output.take());
        }
    };
    if let Some(message) = answer.pointer("/error/message").and_then(Value::as_str) {
        bail!("the daemon refused: {message}");
    }
    let Some(result) = answer.get_mut("result").map(Value::take) else { bail!("the answer holds no result") };
    let interpreter = &result["_meta"][INTERPRETER_KEY];
    Ok(ToolResult {
        interpreter: interpreter.as_str().unwrap_or_default().to_owned(),
        is_error: result["isError"] == true,
        response: ExecuteResponse::deserialize(&result["structuredContent"]).context("the result has another form")?,
    })
}

fn request(source_code: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": NAME,
            "arguments": { "source_code": source_code },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
                "io.modelcontextprotocol/clientInfo": { "name": "exec", "version": env!("CARGO_PKG_VERSION") },
                "io.modelcontextprotocol/clientCapabilities": {},
                // As Python does: all of the output, at once.
                "progressToken": 1,
                OUTPUT_STREAM_KEY: true,
                OUTPUT_CHARACTERS_KEY: usize::MAX,
            },
        },
    })
}
