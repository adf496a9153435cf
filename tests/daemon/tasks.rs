//! Long runs as tasks: a handle in place of an answer, its state by asking, its end by cancelling, and what a restart of the daemon
//! leaves of it.

use crate::support::daemon::{Daemon, Home, Session};
use crate::support::until;
use serde_json::{Value, json};

const EXTENSION: &str = "io.modelcontextprotocol/tasks";

fn daemon() -> Daemon {
    let daemon = Daemon::start_with(&[], &["--task-after", "1"]);
    daemon.connect().call("1");
    daemon
}

/// A request of a client that knows tasks.
fn request(session: &mut Session, method: &str, parameters: Value) -> Value {
    let mut message = session.message(json!("t"), method, parameters);
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"][EXTENSION] = json!({});
    session.send(&message);
    session.read_answer()
}

fn begin(session: &mut Session, code: &str) -> String {
    let parameters = json!({"name": "execute_python_code", "arguments": {"source_code": code}});
    let begun = request(session, "tools/call", parameters)["result"].clone();
    assert_eq!((&begun["resultType"], &begun["status"]), (&json!("task"), &json!("working")), "{begun}");
    assert!(begun["ttlMs"].as_u64().unwrap() > 0 && begun["pollIntervalMs"].as_u64().unwrap() > 0);
    begun["taskId"].as_str().unwrap().to_owned()
}

fn get(session: &mut Session, id: &str) -> Value {
    request(session, "tasks/get", json!({ "taskId": id }))
}

fn ended(session: &mut Session, id: &str) -> Value {
    let mut task = Value::Null;
    until("the task has ended", || {
        task = get(session, id)["result"].clone();
        task["status"] != "working"
    });
    assert_eq!(task["resultType"], "complete");
    task
}

#[test]
fn a_long_run_becomes_a_task_that_says_its_last_line_and_ends_with_its_result() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let short = request(
        &mut session,
        "tools/call",
        json!({"name": "execute_python_code", "arguments": {"source_code": "print(1)"}}),
    );
    assert_eq!(
        (&short["result"]["resultType"], &short["result"]["structuredContent"]["stdout"]),
        (&json!("complete"), &json!("1\n"))
    );

    let name = format!("task-{}", std::process::id());
    let wait = "open('wait', 'w').close()\nwhile os.path.exists('wait'): time.sleep(0.01)\nprint('done')";
    let named = format!("import ctypes, os, time\nctypes.CDLL(None).prctl(15, b'{name}')\nprint('half way')\n{wait}");
    let id = begin(&mut session, &named);
    assert!(id.len() >= 32);
    // Also for another client: the task is the user's, and whoever has its id may ask.
    let mut other = daemon.connect();
    until("the last line is told", || get(&mut other, &id)["result"]["statusMessage"] == "half way");
    drop(session);
    release(&name);
    let task = ended(&mut other, &id);
    let stdout = &task["result"]["structuredContent"]["stdout"];
    assert_eq!((&task["status"], stdout), (&json!("completed"), &json!("half way\ndone\n")));
    assert_eq!(task["result"]["isError"], false);
}

/// Lets the program of this name go on, which waits as long as there is a file `wait`.
fn release(name: &str) {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let is_it = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let program = processes.into_iter().find(is_it).expect("the program waits");
    std::fs::remove_file(program.join("cwd/wait")).unwrap();
}

#[test]
fn a_task_can_be_cancelled_and_what_is_wrong_is_refused() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let id = begin(&mut session, "while True: pass");
    let cancelled = request(&mut session, "tasks/cancel", json!({ "taskId": id }));
    assert_eq!(cancelled["result"]["resultType"], "complete", "{cancelled}");
    assert_eq!(ended(&mut session, &id)["status"], "cancelled");
    let updated = request(&mut session, "tasks/update", json!({"taskId": id, "inputResponses": {}}));
    assert_eq!(updated["result"]["resultType"], "complete", "{updated}");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let parameters = json!({"taskId": "unknown", "inputResponses": {}});
        assert_eq!(request(&mut session, method, parameters.clone())["error"]["code"], -32602, "{method}");
        // A client that does not know tasks must not ask for one.
        assert_eq!(session.request(method, parameters)["error"]["code"], -32021, "{method}");
    }
}

#[test]
fn clients_that_do_not_know_tasks_wait_for_their_answer() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let code = "import time; time.sleep(2); print('late')";
    assert_eq!(session.call(code)["structuredContent"]["stdout"], "late\n");
    // An older revision had an extension of the same name with another meaning.
    let mut legacy = daemon.connect();
    let hello = legacy.initialize("2025-11-25");
    assert!(hello["capabilities"].get("extensions").is_none(), "{hello}");
    assert_eq!(legacy.call(code)["structuredContent"]["stdout"], "late\n");
}

#[test]
fn results_outlive_the_daemon_and_what_ran_then_is_failed() {
    let home = Home::new();
    let start = || {
        let mut command = home.command();
        command.args(["serve", "--task-after", "1"]).stderr(std::process::Stdio::null());
        let process = command.spawn().unwrap();
        until("the daemon serves", || Session::try_open(home.socket()).is_ok());
        process
    };
    let mut process = start();
    let mut session = Session::open(home.socket());
    session.call("1");
    let done = begin(&mut session, "import time; time.sleep(1.5); print('kept')");
    let before = ended(&mut session, &done);
    let running = begin(&mut session, "while True: pass");
    process.kill().unwrap();
    process.wait().unwrap();
    let mut process = start();
    let mut session = Session::open(home.socket());
    assert_eq!(get(&mut session, &done)["result"]["result"], before["result"]);
    let failed = get(&mut session, &running)["result"].clone();
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!(-32603)), "{failed}");
    assert!(failed["statusMessage"].as_str().unwrap().contains("daemon ended"), "{failed}");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_subscription_tells_of_a_task_s_end_by_the_id_of_the_client() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let id = begin(&mut session, "import time\ntime.sleep(2.5)\nprint('end')");
    let listen = |session: &Session| {
        session.message(
            json!("watch"),
            "subscriptions/listen",
            json!({"notifications": {"taskIds": [id, "unknown"], "toolsListChanged": true}}),
        )
    };
    let message = listen(&session);
    session.send(&message);
    let refused = session.read_answer();
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("watch"), &json!(-32021)), "{refused}");
    assert!(refused["error"]["data"]["requiredCapabilities"]["extensions"].get(EXTENSION).is_some());

    let mut message = listen(&session);
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"][EXTENSION] = json!({});
    session.send(&message);
    let subscription = |message: &Value| message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].clone();
    let acknowledged = session.read();
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(acknowledged["params"]["notifications"]["taskIds"], json!([id, "unknown"]));
    assert_eq!(
        (acknowledged["params"]["notifications"]["toolsListChanged"].clone(), subscription(&acknowledged)),
        (json!(true), json!("watch"))
    );
    let mut seen = Vec::new();
    while seen.last() != Some(&json!("completed")) {
        let told = session.read();
        assert_eq!((&told["method"], subscription(&told)), (&json!("notifications/tasks"), json!("watch")));
        assert_eq!(told["params"]["taskId"], *id);
        seen.push(told["params"]["status"].clone());
        if seen.last() == Some(&json!("completed")) {
            assert_eq!(told["params"]["result"]["structuredContent"]["stdout"], "end\n");
        }
    }
    assert_eq!(seen[0], "working", "as it is when it begins to be watched");
    // Stopping the daemon ends the subscription in good order.
    daemon.terminate();
    let end = session.read();
    assert_eq!(
        (&end["id"], &end["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"]),
        (&json!("watch"), &json!("watch")),
        "{end}"
    );
}

#[test]
fn a_task_that_runs_keeps_an_idle_daemon_and_is_waited_for_by_one_that_stops() {
    let home = Home::new();
    let mut process = {
        let mut command = home.command();
        command.args(["serve", "--background", "--task-after", "1", "--idle-exit", "1"]);
        command.stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    until("the daemon serves", || Session::try_open(home.socket()).is_ok());
    let mut session = Session::open(home.socket());
    session.call("1");
    let id = begin(&mut session, "import time; time.sleep(4); print('kept')");
    drop(session);
    // Its client has gone, and the time after which an idle daemon leaves passes while it runs.
    let mut last = Value::Null;
    until("the task has ended", || {
        let Ok(mut session) = Session::try_open(home.socket()) else { return true };
        last = get(&mut session, &id)["result"]["status"].clone();
        last != "working"
    });
    assert_eq!(last, "completed", "the daemon was there to the end");
    until("the daemon has left", || process.try_wait().unwrap().is_some());

    let daemon = daemon();
    let mut session = daemon.connect();
    let id = begin(&mut session, "import time; time.sleep(3); print('kept')");
    drop(session);
    let mut daemon = daemon;
    daemon.terminate();
    assert!(daemon.wait().success());
    let record = daemon.home().path().join(format!(".local/state/python-interpreter-mcp/tasks/{id}.json"));
    let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert_eq!(record["task"]["status"], "completed", "{record}");
}

#[test]
fn whoever_gives_up_a_call_gets_no_task() {
    let daemon = daemon();
    let mut session = daemon.connect();
    let mut message = session.message(
        json!("gone"),
        "tools/call",
        json!({"name": "execute_python_code", "arguments": {"source_code": "while True: pass"}}),
    );
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"][EXTENSION] = json!({});
    session.send(&message);
    session.cancel("gone");
    assert_eq!(session.call("print(1)")["structuredContent"]["stdout"], "1\n");
    let records = daemon.home().path().join(".local/state/python-interpreter-mcp/tasks");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0, "after the time in which it would have become one");
}
