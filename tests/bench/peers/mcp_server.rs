//! A client of an MCP server that runs Python, over the pipes of its standard input and output.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::interface::Client;
use super::lines::{DEADLINE, Lines};
use super::program::{Answer, Program};
use crate::mcp::{INITIALIZED, initialize};

/// The server's tool that takes a program.
#[derive(Clone, Copy)]
pub struct Tool {
    pub name: &'static str,
    pub argument: &'static str,
    /// By which text an answer says that the program failed, if it says so in no other way.
    pub failure: Option<&'static str>,
}

pub struct McpClient {
    server: Lines,
    tool: Tool,
    calls: u64,
}

impl McpClient {
    pub fn connect(command: &mut Command, tool: Tool) -> Result<Self> {
        let mut client = McpClient { server: Lines::start(command)?, tool, calls: 0 };
        client.server.send(&initialize())?;
        client.answer_to(0).context("it does not initialize")?;
        client.server.send(INITIALIZED)?;
        Ok(client)
    }

    /// Skips notifications.
    fn answer_to(&mut self, id: u64) -> Result<(Instant, Value)> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let line = self.server.receive(deadline)?;
            let received = Instant::now();
            let message: Value = serde_json::from_slice(&line)
                .with_context(|| format!("it says {:?}", String::from_utf8_lossy(&line[..line.len().min(100)])))?;
            if message["id"] == id {
                return Ok((received, message));
            }
        }
    }

    fn read(&self, message: &Value) -> Answer {
        let result = &message["result"];
        let texts = result["content"].as_array().into_iter().flatten().filter_map(|item| item["text"].as_str());
        let structured = &result["structuredContent"];
        let streams = ["stdout", "stderr"].map(|stream| structured[stream].as_str());
        let error = message["error"]["message"].as_str();
        // Where it has both, the text repeats the other.
        let said = match streams.iter().any(Option::is_some) {
            true => streams.into_iter().flatten().chain(error).collect(),
            false => texts.chain(error).collect::<Vec<_>>().join("\n"),
        };
        let failed = error.is_some()
            || result["isError"] == true
            || structured["exit_code"].as_i64().is_some_and(|code| code != 0)
            || self.tool.failure.is_some_and(|mark| said.contains(mark));
        Answer { said, failed }
    }
}

impl Client for McpClient {
    fn run(&mut self, program: &Program) -> Result<Duration> {
        self.calls += 1;
        let parameters = json!({ "name": self.tool.name, "arguments": { self.tool.argument: program.source } });
        let message = json!({ "jsonrpc": "2.0", "id": self.calls, "method": "tools/call", "params": parameters });
        let line = format!("{message}\n");
        let started = Instant::now();
        self.server.send(line.as_bytes())?;
        let (received, message) = self.answer_to(self.calls)?;
        ensure!(message["jsonrpc"] == "2.0", "it answers {message}");
        program.check(&self.read(&message))?;
        Ok(received - started)
    }
}
