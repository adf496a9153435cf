//! A client of the legacy era without any software of its own: one shim, and one line for each message.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::world::Running;

pub struct RawClient {
    pub process: Running,
    /// `None` once it is closed.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    requests: u64,
}

impl RawClient {
    pub fn launch(shim: &mut Command) -> Self {
        let mut process = Running::start(shim.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
        let (input, output) = (process.0.stdin.take(), BufReader::new(process.0.stdout.take().unwrap()));
        Self { process, input, output, requests: 0 }
    }

    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// The whole of a short session but its end: the result of running `program`.
    pub fn initialize_and_call(&mut self, program: &str) -> Value {
        self.initialize();
        self.call(program)
    }

    pub fn call(&mut self, program: &str) -> Value {
        let call = json!({"name": "execute_python_code", "arguments": {"source_code": program}});
        self.request("tools/call", &call)
    }

    /// The result of a call, or its error where it has none.
    pub fn try_call(&mut self, program: &str) -> Result<Value, Value> {
        let call = json!({"name": "execute_python_code", "arguments": {"source_code": program}});
        let mut answer = self.answer_to("tools/call", &call);
        if answer["error"].is_null() { Ok(answer["result"].take()) } else { Err(answer["error"].take()) }
    }

    fn initialize(&mut self) {
        self.try_initialize().unwrap_or_else(|error| panic!("initialize: {error}"));
    }

    /// The handshake, or the error that it got.
    pub fn try_initialize(&mut self) -> Result<(), Value> {
        let client = json!({"name": "raw-client", "version": "1.0.0"});
        let version = "2025-11-25";
        let initialize = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client});
        let mut answer = self.answer_to("initialize", &initialize);
        if answer["result"].is_null() {
            return Err(answer["error"].take());
        }
        assert_eq!(answer["result"]["protocolVersion"], version, "{answer}");
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        Ok(())
    }

    pub fn close(&mut self) {
        self.input = None;
    }

    /// Closes the input, and returns what still comes with an id until the output ends.
    pub fn rest(&mut self) -> String {
        self.close();
        let mut lines = (&mut self.output).lines().map(Result::unwrap);
        lines.by_ref().filter(|line| line.contains("\"id\"")).collect()
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        let mut answer = self.answer_to(method, params);
        let result = answer["result"].take();
        assert!(result.is_object(), "{method}: {answer}");
        result
    }

    fn answer_to(&mut self, method: &str, params: &Value) -> Value {
        self.requests += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.requests, "method": method, "params": params}));
        let (mut line, mut answer) = (String::new(), Value::Null);
        // That lists have changed may be told at any time.
        while answer.get("id").is_none() {
            line.clear();
            self.output.read_line(&mut line).unwrap();
            answer = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{method}: {error}: {line:?}"));
        }
        assert_eq!(answer["id"], self.requests, "{line}");
        answer
    }

    fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.input.as_mut().expect("it is not closed").write_all(line.as_bytes()).unwrap();
    }
}
