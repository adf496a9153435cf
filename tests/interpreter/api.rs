//! The embedded interpreter's API as a client of it sees it: what a program's end looks like, and refusals.

use std::os::unix::process::CommandExt;

use crate::support::interpreter::{Interpreter, am_root};
use crate::support::processes::{children, descendants, signal};
use crate::support::{passed_over, until};
use rustix::process::Signal;
use serde_json::json;

const JSON: &str = "Content-Type: application/json";

#[test]
fn a_program_ends_as_it_does_under_python_itself() {
    let interpreter = Interpreter::start();
    for (code, exit_code, stdout, stderr) in [
        ("print('out'); import sys; print('err', file=sys.stderr)", 0, "out\n", "err\n"),
        ("", 0, "", ""),
        ("import sys; sys.exit(3)", 3, "", ""),
        ("import sys; sys.exit('why')", 1, "", "why\n"),
        ("import os; os._exit(300)", 44, "", ""),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
            143,
            "",
            "Killed: the program was ended by signal 15 (SIGTERM)\n",
        ),
        ("import os; os.abort()", 134, "", "Killed: the program was ended by signal 6 (SIGABRT)\n"),
        (
            "input()",
            1,
            "",
            "Traceback (most recent call last):\n  File \"/workspace/script.py\", line 1, in <module>\n    input()\nEOFError: EOF when reading a line\n",
        ),
        ("import atexit; atexit.register(print, 'bye'); print('hi')", 0, "hi\nbye\n", ""),
        (
            "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
            0,
            "late\n",
            "",
        ),
        (
            "print(__name__, __file__); import sys; print(sys.argv, sys.path[0])",
            0,
            "__main__ /workspace/script.py\n['script.py'] /workspace\n",
            "",
        ),
        ("print('żółć 🐍 \\x00')", 0, "żółć 🐍 \0\n", ""),
        ("print('a\\r\\nb')", 0, "a\r\nb\n", ""),
    ] {
        let result = interpreter.execute(code);
        let expected = json!({ "exit_code": exit_code, "stdout": stdout, "stderr": stderr, "files": {} });
        assert_eq!(result, expected, "{code}");
    }
    let result = interpreter.execute("def f():\n    raise ValueError('no')\nf()");
    let traceback = "Traceback (most recent call last):\n  File \"/workspace/script.py\", line 3, in <module>\n    f()\n  File \
                     \"/workspace/script.py\", line 2, in f\n    raise ValueError('no')\nValueError: no\n";
    assert_eq!((result["stderr"].as_str(), result["exit_code"].as_i64()), (Some(traceback), Some(1)));
    // Python before 3.12 stops reading there; later ones refuse.
    interpreter.execute("print(1)\0");
}

#[test]
fn an_execution_that_is_ended_by_its_id_answers_with_what_was_printed() {
    let interpreter = Interpreter::start();
    let endless =
        json!({"source_code": "import time; print('so far', flush=True); open('made', 'w'); time.sleep(600)"});
    let body = serde_json::to_vec(&endless).unwrap();
    let headers = [JSON, "x-execution-id: one-1"];
    let waiting = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| interpreter.request("POST", "/v1/execute", &headers, &body));
        interpreter.program_with("made");
        assert_eq!(interpreter.request("DELETE", "/v1/executions/one-2", &[], b"").status, 404);
        assert_eq!(interpreter.request("DELETE", "/v1/executions/one-1", &[], b"").status, 200);
        waiting.join().unwrap()
    });
    let result = waiting.json();
    assert_eq!((&result["stdout"], &result["exit_code"]), (&json!("so far\n"), &json!(137)), "{result}");
    assert!(result["files"].as_object().unwrap().contains_key("/workspace/made"), "{result}");
    interpreter.wait_until_empty();
    assert_eq!(interpreter.request("DELETE", "/v1/executions/one-1", &[], b"").status, 404);
}

#[test]
fn an_interpreter_that_is_told_to_end_answers_its_calls_first() {
    let interpreter = Interpreter::start();
    let endless =
        json!({"source_code": "import time; print('so far', flush=True); open('made', 'w'); time.sleep(600)"});
    let answer = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| interpreter.post(&endless));
        interpreter.program_with("made");
        signal(interpreter.id(), Signal::TERM);
        waiting.join().unwrap()
    });
    assert_eq!((answer.status, &answer.json()["stdout"]), (200, &json!("so far\n")));
}

#[test]
fn what_ordinary_programs_use_is_there() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import asyncio, concurrent.futures, getpass, multiprocessing, os, pathlib, socket, sqlite3, ssl, subprocess, sys, tempfile, time, uuid, zoneinfo
def square(x): return x * x
if __name__ == '__main__':
    print(subprocess.run(['echo', 'shell'], capture_output=True, text=True).stdout.strip())
    for method in ('fork', 'spawn'):
        with multiprocessing.get_context(method).Pool(2) as pool: print(pool.map(square, [2, 3]))
    with concurrent.futures.ThreadPoolExecutor() as threads: print(list(threads.map(square, [4])))
    print(asyncio.run(asyncio.sleep(0, 'async')))
    with tempfile.NamedTemporaryFile() as file: print(pathlib.Path(file.name).parent)
    print(sqlite3.connect(':memory:').execute('select 1').fetchone(), getpass.getuser(), socket.gethostname())
    pathlib.Path('helper.py').write_text('value = 5')
    import helper; print(helper.value)
    print(pathlib.Path.home(), os.getcwd(), time.tzname is not None, zoneinfo.ZoneInfo('Europe/Berlin').key)
    queue = multiprocessing.Queue(); queue.put('queue'); print(queue.get())",
    );
    let expected = "shell\n[4, 9]\n[4, 9]\n[16]\nasync\n/tmp\n(1,) user python\n5\n/tmp/home /workspace True Europe/Berlin\nqueue\n";
    assert_eq!(result["stdout"], expected, "{result}");
    assert_eq!(result["files"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/workspace/helper.py"]);
}

#[test]
fn another_users_connection_over_tcp_is_refused() {
    if !am_root() {
        return passed_over("only root can be another user");
    }
    let interpreter = Interpreter::start();
    let ask = |user: u32| {
        let code = "import sys, urllib.request; print(urllib.request.urlopen(f'http://{sys.argv[1]}/healthz').status)";
        let mut client = std::process::Command::new("/usr/bin/python3");
        client.args(["-c", code, interpreter.address()]).current_dir("/").uid(user).gid(user).output().unwrap()
    };
    assert_eq!(ask(interpreter.user()).stdout, b"200\n");
    let refused = ask(interpreter.user() + 1);
    assert!(refused.stdout.is_empty() && !refused.status.success(), "{refused:?}");
}

#[test]
fn a_program_whose_slot_is_killed_from_outside_keeps_its_output() {
    let interpreter = Interpreter::start();
    interpreter.execute("");
    std::thread::scope(|scope| {
        let call = scope.spawn(|| interpreter.execute("print('before'); open('ready', 'w').close()\nwhile True: pass"));
        let program = || {
            let made = |id: &u32| std::path::Path::new(&format!("/proc/{id}/cwd/ready")).exists();
            descendants(interpreter.id()).into_iter().find(made)
        };
        until("the program has printed", || program().is_some());
        let first = first_process(&interpreter, program().unwrap());
        signal(first, Signal::KILL);
        let result = call.join().unwrap();
        assert_eq!((&result["stdout"], &result["exit_code"]), (&json!("before\n"), &json!(137)), "{result}");
        assert!(result["stderr"].as_str().unwrap().contains("from outside"), "{result}");
    });
}

/// The first process of the slot that `process` is in.
fn first_process(interpreter: &Interpreter, process: u32) -> u32 {
    let namespace = |id: u32| std::fs::read_link(format!("/proc/{id}/ns/pid")).ok();
    let is_first = |id: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        ids.split_whitespace().last() == Some("1") && namespace(*id) == namespace(process)
    };
    descendants(interpreter.id()).into_iter().find(is_first).unwrap()
}

#[test]
fn environment_variables_are_added_to_the_programs_own() {
    let interpreter = Interpreter::start();
    let code = "import os; print(os.environ['NAME'], os.environ['LANG'])";
    let result = interpreter.post(&json!({ "source_code": code, "env": { "NAME": "värde", "LANG": "C" } })).json();
    assert_eq!(result["stdout"], "värde C\n", "{result}");
}

#[test]
fn wrong_requests_are_refused_with_the_reason_and_nothing_runs() {
    let interpreter = Interpreter::start();
    let unknown = "0".repeat(64);
    for (request, reason) in [
        (json!({}), "source_code"),
        (json!({ "source_code": null }), "expected a string"),
        (json!({ "source_code": 1 }), "expected a string"),
        (json!([1]), "invalid"),
        (json!({ "source_code": "", "files": { "relative": unknown } }), "not an absolute path below /workspace"),
        (
            json!({ "source_code": "", "files": { "/workspace/../etc/x": unknown } }),
            "not an absolute path below /workspace",
        ),
        (json!({ "source_code": "", "files": { "/workspace/x": unknown } }), "there is no file with the id"),
        (json!({ "source_code": "", "files": { "/workspace/x": "../../etc/passwd" } }), "there is no file with the id"),
        (
            json!({ "source_code": "", "files": { "/workspace/x": unknown, "/workspace/x/y": unknown } }),
            "below a path that is a file",
        ),
        (json!({ "source_code": "", "env": { "A=B": "" } }), "not a valid environment variable"),
        (json!({ "source_code": "", "env": { "A": "x".repeat(200_000) } }), "the limit is"),
        (json!({ "source_code": "", "timeout_seconds": -1 }), "not a positive number"),
        (json!({ "source_code": "", "timeout_seconds": "1" }), "expected f64"),
    ] {
        let answer = interpreter.post(&request);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 422, "{request} {detail}");
        assert!(detail.contains(reason), "{reason}: {detail}");
    }
    for (method, path, headers, status) in [
        ("GET", "/v1/execute", &[][..], 405),
        ("POST", "/v1/execute", &[][..], 415),
        ("POST", "/v1/execute", &["Content-Type: text/plain"][..], 415),
        ("POST", "/v1/execute", &[JSON, "Origin: https://example.com"][..], 403),
        ("GET", "/healthz", &["Sec-Fetch-Site: cross-site"][..], 403),
        ("POST", "/v1/execute", &[JSON, "Host: example.com:50081"][..], 403),
        ("GET", "/v1/files/none", &[][..], 404),
        ("DELETE", "/v1/files/none", &[][..], 405),
        ("GET", "/elsewhere", &[][..], 404),
        ("GET", "/healthz", &[][..], 200),
    ] {
        let answer = interpreter.request(method, path, headers, b"{\"source_code\": \"\"}");
        assert_eq!(answer.status, status, "{method} {path} {headers:?} {}", String::from_utf8_lossy(&answer.body));
    }
    let long = vec![b' '; 17 << 20];
    assert_eq!(interpreter.request("POST", "/v1/execute", &[JSON], &long).status, 413);
}

#[test]
fn more_executions_than_places_wait_their_turn() {
    let interpreter = Interpreter::start();
    std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..24).map(|number| (number, scope.spawn(|| interpreter.execute("print(input.__name__)")))).collect();
        for (number, call) in calls {
            assert_eq!(call.join().unwrap()["stdout"], "input\n", "{number}");
        }
    });
    interpreter.wait_until_empty();
}

#[test]
fn a_killed_spawner_is_replaced() {
    let interpreter = Interpreter::start();
    assert_eq!(interpreter.execute("print(1)")["stdout"], "1\n");
    let spawner = interpreter.spawner();
    signal(spawner, Signal::KILL);
    until("the spawner is gone", || !children(interpreter.id()).contains(&spawner));
    assert_eq!(interpreter.execute("print(2)")["stdout"], "2\n");
    assert_ne!(interpreter.spawner(), spawner);
}

#[test]
fn a_hook_for_exceptions_may_leave() {
    let interpreter = Interpreter::start();
    let code = "import sys, atexit
atexit.register(print, 'bye')
def hook(*exception):
    print(exception[1])
    sys.exit(9)
sys.excepthook = hook
raise ValueError('why')";
    let result = interpreter.execute(code);
    assert_eq!(
        (&result["exit_code"], &result["stdout"], &result["stderr"]),
        (&json!(9), &json!("why\nbye\n"), &json!(""))
    );
}

#[test]
fn the_log_calls_an_execution_what_its_caller_calls_it() {
    let interpreter = Interpreter::start();
    let post = |id: &str, body: &serde_json::Value| {
        let header = format!("X-Execution-Id: {id}");
        interpreter.request(
            "POST",
            "/v1/execute",
            &["Content-Type: application/json", &header],
            body.to_string().as_bytes(),
        )
    };
    assert_eq!(post("ab12-34", &json!({ "source_code": "1" })).status, 200);
    let unknown_file = json!({ "source_code": "1", "files": { "/workspace/x": "0" } });
    assert_eq!(post("ab12-35", &unknown_file).status, 422);
    // What is no such name is left out, and the call goes on.
    for wrong in ["", "a b", "x_y", &"9".repeat(65)] {
        assert_eq!(post(wrong, &json!({ "source_code": "1" })).status, 200);
    }
    let lines = |part: &str| {
        interpreter.log().lines().filter(|line| line.contains(part)).map(str::to_owned).collect::<Vec<_>>()
    };
    until("all is logged", || lines("outcome=").len() == 5 && lines("not executed").len() == 1);
    assert!(lines("outcome=")[0].contains("execution_id=\"ab12-34\""), "{:?}", lines("outcome="));
    assert!(lines("not executed")[0].contains("execution_id=\"ab12-35\""), "{:?}", lines("not executed"));
    assert_eq!(lines("execution_id=").len(), 2, "{}", interpreter.log());
}
