//! What all programs may hold together is bounded: a call that could exceed it waits, and where those that run do, the largest is ended.

use crate::support::interpreter::{Interpreter, release};
use crate::support::until;

/// Takes `mib`, makes the file `name`, waits until it is removed, and says when it started and ended.
fn holds(mib: u32, name: &str) -> String {
    format!(
        "import os, time
start = time.monotonic()
kept = bytearray(b'x') * ({mib} << 20)
open('{name}', 'w').close()
while os.path.exists('{name}'): time.sleep(0.01)
print(start, time.monotonic())"
    )
}

fn times(result: &serde_json::Value) -> Vec<f64> {
    let output = result["stdout"].as_str().unwrap_or_default();
    output.split_whitespace().map(|time| time.parse().unwrap()).collect()
}

#[test]
fn a_call_that_could_exceed_it_waits() {
    let interpreter = Interpreter::start_with(&[
        ("PYTHON_INTERPRETER_MCP_MEMORY", "256M"),
        ("PYTHON_INTERPRETER_MCP_TOTAL_MEMORY", "320M"),
    ]);
    let waiting = || interpreter.request("GET", "/healthz", &[], b"").json()["waiting_for_memory"].as_u64().unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| interpreter.execute(&holds(160, "first")));
        let program = interpreter.program_with("first");
        let second = scope.spawn(|| interpreter.execute(&holds(1, "second")));
        until("the second call waits", || waiting() == 1);
        release(program, "first");
        release(interpreter.program_with("second"), "second");
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        assert!(times(&first)[1] <= times(&second)[0], "the second starts when the first has ended: {first} {second}");
    });
    interpreter.is_unscathed();
}

#[test]
fn calls_that_fit_do_not_wait() {
    let interpreter = Interpreter::start_with(&[
        ("PYTHON_INTERPRETER_MCP_MEMORY", "256M"),
        ("PYTHON_INTERPRETER_MCP_TOTAL_MEMORY", "400M"),
    ]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| interpreter.execute(&holds(10, "first")));
        let program = interpreter.program_with("first");
        // While the first one runs, which holds little.
        assert_eq!(interpreter.execute("print(1)")["stdout"], "1\n");
        release(program, "first");
        assert_eq!(first.join().unwrap()["exit_code"], 0);
    });
    interpreter.is_unscathed();
}

#[test]
fn where_all_together_exceed_it_the_largest_is_ended_and_told_so() {
    let interpreter = Interpreter::start_with(&[
        ("PYTHON_INTERPRETER_MCP_MEMORY", "400M"),
        ("PYTHON_INTERPRETER_MCP_TOTAL_MEMORY", "500M"),
    ]);
    let grows = |mib: u32, name: &str| {
        format!(
            "{}\nkept = bytearray(b'x') * ({mib} << 20)\nopen('grown', 'w').close()\nwhile os.path.exists('grown'): time.sleep(0.01)\nprint('went on')",
            holds(1, name)
        )
    };
    std::thread::scope(|scope| {
        let small = scope.spawn(|| interpreter.execute(&grows(200, "small")));
        let small_program = interpreter.program_with("small");
        let large = scope.spawn(|| interpreter.execute(&grows(360, "large")));
        let large_program = interpreter.program_with("large");
        release(small_program, "small");
        until("the small one has grown", || std::path::Path::new(&format!("/proc/{small_program}/cwd/grown")).exists());
        release(large_program, "large");
        let large = large.join().unwrap();
        let stderr = large["stderr"].as_str().unwrap();
        assert_eq!(large["exit_code"], 137, "{large}");
        assert!(stderr.contains("500 MiB, and this one the most (PYTHON_INTERPRETER_MCP_TOTAL_MEMORY)"), "{large}");
        release(small_program, "grown");
        let small = small.join().unwrap();
        assert!(small["exit_code"] == 0 && small["stdout"].as_str().unwrap().ends_with("went on\n"), "{small}");
    });
    interpreter.is_unscathed();
}
