//! An interpreter that may open few files serves all its callers.

use crate::support::interpreter::{Interpreter, try_post};
use serde_json::json;

/// Another Python would meet the same: callers wait for what others give back.
#[test]
fn a_lack_of_descriptors_costs_time_and_nothing_else() {
    let interpreter = Interpreter::start_limited("ulimit -n 64");
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
