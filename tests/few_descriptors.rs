//! An interpreter that may open few files serves all its callers. The only test of its program, whose own limit is lowered.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/interpreter.rs"]
mod interpreter;

use interpreter::{Interpreter, try_post};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;

/// Another Python would meet the same: callers wait for what others give back.
#[test]
fn a_lack_of_descriptors_costs_time_and_nothing_else() {
    // Of this process, and so of all that it starts.
    let limit = Rlimit { current: Some(64), maximum: Some(64) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let interpreter = Interpreter::start();
    interpreter.works();
    let spawner = interpreter.spawner();
    let results: Vec<_> = std::thread::scope(|scope| {
        let call = |number| {
            let address = interpreter.address();
            let code = format!("import time; time.sleep(0.2); print({number})");
            move || try_post(address, &json!({ "source_code": code }))
        };
        let calls: Vec<_> = (0..14).map(|number| scope.spawn(call(number))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    for (number, result) in results.into_iter().enumerate() {
        let answer = result.unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json()["stdout"], format!("{number}\n"));
    }
    assert_eq!(interpreter.spawner(), spawner);
    assert_eq!(interpreter.log().matches("Python is ready").count(), 1, "{}", interpreter.log());
}
