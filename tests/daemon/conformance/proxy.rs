//! Stands between the suite and the daemon: adds the token, which the suite cannot be given, and lends the daemon's tool the names of
//! those tools of the suite that a program can stand in for.

use std::io;
use std::net::SocketAddr;

use super::fixture::PICTURE;
use super::loopback::Loopback;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const MAX_HEAD_BYTES: usize = 64 * 1024;

pub fn start(daemon: SocketAddr, token: &str) -> Loopback {
    let token = token.to_owned();
    Loopback::start(move |stream| {
        let token = token.clone();
        async move {
            // A connection that breaks off is the suite's or the daemon's to tell.
            let _ = relay(stream, daemon, &token).await;
        }
    })
}

/// Relays one request: with its answer the connection ends.
async fn relay(mut client: TcpStream, daemon: SocketAddr, token: &str) -> io::Result<()> {
    let (head, rest) = head(&mut client).await?;
    let Some((first, headers)) = head.split_once("\r\n") else { return Ok(()) };
    let named = |line: &str, name: &str| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name));
    let value = |name: &str| {
        let line = headers.lines().find(|line| named(line, name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = rest;
    while body.len() < length && client.read_buf(&mut body).await? > 0 {}
    let lent = lend(&body);
    let mut sent = format!("{first}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
    for line in headers.lines().filter(|line| !line.is_empty() && !named(line, "connection")) {
        match &lent {
            Some(_) if named(line, "content-length") => {}
            Some(lent)
                if lent.name != TOOL && named(line, "mcp-name") && value("mcp-name").as_ref() == Some(&lent.name) =>
            {
                sent += &format!("Mcp-Name: {TOOL}\r\n");
            }
            _ => sent += &format!("{line}\r\n"),
        }
    }
    if let Some(lent) = lent {
        body = lent.body;
        sent += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut server = TcpStream::connect(daemon).await?;
    server.write_all(format!("{sent}\r\n").as_bytes()).await?;
    server.write_all(&body).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// The head of a request, and what has come with it.
async fn head(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    while read.len() < MAX_HEAD_BYTES && client.read_buf(&mut read).await? > 0 {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read).into_owned(), rest));
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

const TOOL: &str = "execute_python_code";

struct Lent {
    /// The suite's name of the tool.
    name: String,
    body: Vec<u8>,
}

/// The call of the daemon's tool that does what the suite wants of its own.
fn lend(body: &[u8]) -> Option<Lent> {
    let mut call: Value = serde_json::from_slice(body).ok().filter(|call: &Value| call["method"] == "tools/call")?;
    let name = call["params"]["name"].as_str()?.to_owned();
    let arguments = arguments(&name, &call["params"]["arguments"])?;
    call["params"]["name"] = json!(TOOL);
    call["params"]["arguments"] = arguments;
    Some(Lent { name, body: call.to_string().into_bytes() })
}

fn arguments(name: &str, wanted: &Value) -> Option<Value> {
    let program = match name {
        // Where any tool will do, the suite calls the first one without the arguments that it requires.
        TOOL if wanted["source_code"].is_null() => "pass".to_owned(),
        "test_simple_text" | "test_streaming_elicitation" | "test_logging_tool" | "greet" | "confirm_delete" => {
            "print('Hello')".to_owned()
        }
        "failing_job" => "import time\ntime.sleep(2)\nraise SystemExit(1)".to_owned(),
        "test_image_content" => {
            format!("import base64\nopen('picture.png', 'wb').write(base64.b64decode('{PICTURE}'))")
        }
        // Progress is told every other second, and the suite wants to be told three times.
        "test_tool_with_progress" => "import time\ntime.sleep(8)".to_owned(),
        "slow_compute" => {
            // What takes any time has to outlast that after which a call becomes a task.
            let seconds = wanted["seconds"].as_f64().unwrap_or(0.0);
            format!("import time\ntime.sleep({})", if seconds > 0.0 { seconds + 1.0 } else { 0.0 })
        }
        // A file that there is none of keeps a program from being executed.
        "test_error_handling" => return Some(json!({ "source_code": "", "files": { "/workspace/file": "missing" } })),
        _ => return None,
    };
    Some(json!({ "source_code": program }))
}
