//! The embedded interpreter's API as a client of it sees it: what a program's end looks like, files in and out, refusals.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "in a test a panic is the report, and stderr its detail")]

#[path = "support/interpreter.rs"]
mod interpreter;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use interpreter::Interpreter;
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
fn files_come_out_and_go_in_again_by_the_sha256_of_their_content() {
    let interpreter = Interpreter::start();
    let made = interpreter.execute("import os; os.makedirs('a/b'); open('a/b/c.bin', 'wb').write(bytes(range(256)))");
    let id = made["files"]["/workspace/a/b/c.bin"].as_str().unwrap().to_owned();
    assert_eq!(id, "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880");
    let content = interpreter.request("GET", &format!("/v1/files/{id}"), &[], b"");
    assert_eq!((content.status, content.body), (200, (0..=255).collect::<Vec<u8>>()));

    let program = "data = open('/workspace/in/x', 'rb').read(); print(len(data)); open('in/x', 'ab').write(b'!')";
    let files = json!({ "/workspace/in/x": id, "/workspace/kept": id });
    let changed = interpreter.post(&json!({ "source_code": program, "files": files })).json();
    assert_eq!(changed["stdout"], "256\n", "{changed}");
    // What was given and not changed is not given back.
    assert_eq!(changed["files"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/workspace/in/x"]);
}

#[test]
fn a_file_can_be_put_under_its_own_id_only() {
    let interpreter = Interpreter::start();
    let id = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(interpreter.request("PUT", &format!("/v1/files/{id}"), &[], b"abc").status, 201);
    let request = json!({ "source_code": "print(open('f').read())", "files": { "/workspace/f": id } });
    assert_eq!(interpreter.post(&request).json()["stdout"], "abc\n");
    let wrong = interpreter.request("PUT", &format!("/v1/files/{id}"), &[], b"abcd");
    assert_eq!(wrong.status, 422);
    assert!(wrong.json()["detail"].as_str().unwrap().contains("SHA-256"));
}

#[test]
fn stored_files_are_the_owners_alone() {
    let interpreter = Interpreter::start();
    interpreter.execute("open('x', 'w').write('private')");
    let files = interpreter.home.path().join("state/python-interpreter-mcp/files");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files), 0o700);
    let stored: Vec<_> = std::fs::read_dir(&files).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The file, and not the program.
    assert!(stored.len() == 1 && stored.iter().all(|path| mode(path) == 0o600), "{stored:?}");
}

#[test]
fn only_regular_files_are_returned_and_what_is_left_out_is_named() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os, socket
os.symlink('/etc/passwd', 'link'); os.symlink('/', 'dir'); os.mkfifo('fifo'); socket.socket(socket.AF_UNIX).bind('sock')
open(b'\\xff', 'w').close(); open('new\\nline', 'w').close()
os.makedirs('/'.join(['d'] * 60)); os.mkdir('locked'); open('locked/x', 'w').close(); os.chmod('locked/x', 0); os.chmod('locked', 0)
os.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), 200 << 20)",
    );
    let names: Vec<_> = result["files"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["/workspace/locked/x", "/workspace/new\nline", "/workspace/sparse"], "{result}");
    let stderr = result["stderr"].as_str().unwrap();
    for omitted in [
        "/workspace/link: it is no regular file",
        "/workspace/dir:",
        "/workspace/fifo:",
        "/workspace/sock:",
        "not UTF-8",
        "too deep",
    ] {
        assert!(stderr.contains(omitted), "{omitted}: {stderr}");
    }
}

#[test]
fn another_users_connection_over_tcp_is_refused() {
    if !interpreter::am_root() {
        return drop(writeln!(std::io::stderr(), "passed over: only root can be another user"));
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
fn permissions_that_a_program_takes_away_do_not_hide_its_files() {
    let interpreter = Interpreter::start();
    for mode in ["0", "0o400"] {
        let code =
            format!("import os; os.mkdir('d'); open('d/x', 'w').close(); os.chmod('d', {mode}); os.chmod('.', {mode})");
        let result = interpreter.execute(&code);
        assert_eq!(result["files"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/workspace/d/x"], "{result}");
        assert_eq!(result["stderr"], "");
    }
}

#[test]
fn files_beyond_their_number_are_left_out_and_the_script_is_none_of_them() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute("for number in range(1002): open(f'{number:04}', 'w').close()");
    assert_eq!(result["files"].as_object().unwrap().len(), 1000);
    let stderr = result["stderr"].as_str().unwrap();
    assert!(stderr.matches("more than 1000 files").count() == 2 && !stderr.contains("script.py"), "{stderr}");
}

#[test]
fn a_program_whose_slot_is_killed_from_outside_keeps_its_output() {
    let interpreter = Interpreter::start();
    interpreter.execute("");
    std::thread::scope(|scope| {
        let call = scope.spawn(|| interpreter.execute("print('before'); open('ready', 'w').close()\nwhile True: pass"));
        let program = || {
            let made = |id: &u32| std::path::Path::new(&format!("/proc/{id}/cwd/ready")).exists();
            interpreter::descendants(interpreter.id()).into_iter().find(made)
        };
        interpreter::wait_until("the program has printed", || program().is_some());
        let first = first_process(&interpreter, program().unwrap());
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(first as i32).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
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
    interpreter::descendants(interpreter.id()).into_iter().find(is_first).unwrap()
}

#[test]
fn a_file_named_like_the_script_is_kept() {
    let interpreter = Interpreter::start();
    let id = interpreter.execute("open('x', 'w').write('mine')")["files"]["/workspace/x"].clone();
    let request =
        json!({ "source_code": "print(open('script.py').read(), __file__)", "files": { "/workspace/script.py": id } });
    let result = interpreter.post(&request).json();
    assert_eq!(
        (&result["stdout"], &result["files"]),
        (&json!("mine /workspace/script-2.py\n"), &json!({})),
        "{result}"
    );
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
        (json!({ "source_code": "", "files": { "relative": unknown } }), "no absolute path below /workspace"),
        (
            json!({ "source_code": "", "files": { "/workspace/../etc/x": unknown } }),
            "no absolute path below /workspace",
        ),
        (json!({ "source_code": "", "files": { "/workspace/x": unknown } }), "there is no file with the id"),
        (json!({ "source_code": "", "files": { "/workspace/x": "../../etc/passwd" } }), "there is no file with the id"),
        (
            json!({ "source_code": "", "files": { "/workspace/x": unknown, "/workspace/x/y": unknown } }),
            "below a path that is a file",
        ),
        (json!({ "source_code": "", "env": { "A=B": "" } }), "no environment variable"),
        (json!({ "source_code": "", "env": { "A": "x".repeat(200_000) } }), "the limit is"),
        (json!({ "source_code": "", "timeout_seconds": -1 }), "no positive number"),
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
fn a_python_that_is_missing_or_too_old_is_named() {
    let fake = |script: &str| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fake_python3");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        for path in [directory.path(), &path] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        (directory, path)
    };
    let old = r#"echo '{"version":[3,8,10],"implementation":"cpython","executable":"/usr/bin/python3.8","prefixes":["/usr"]}'"#;
    for (script, reason) in
        [(old, "is Python 3.8.10, and 3.9 or later is needed"), ("echo oops >&2; exit 1", "cannot be run as Python")]
    {
        let (_directory, path) = fake(script);
        let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_PYTHON", path.to_str().unwrap())]);
        let answer = interpreter.post(&json!({ "source_code": "" }));
        assert_eq!(answer.status, 503);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(reason) && detail.contains(path.to_str().unwrap()), "{detail}");
    }
}

#[test]
fn a_directory_that_is_named_as_python_is_told_apart() {
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_PYTHON", "/usr")]);
    let answer = interpreter.post(&json!({ "source_code": "" }));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(answer.status == 503 && detail.contains("/usr cannot be run as Python: it is a directory"), "{detail}");
}

#[test]
fn a_virtual_environment_is_what_runs() {
    let directory = tempfile::tempdir().unwrap();
    let venv = directory.path().join("venv");
    let made = std::process::Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(&venv).status();
    assert!(made.unwrap().success());
    let packages = std::fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
    std::fs::write(packages.join("only_here.py"), "value = 'from the venv'").unwrap();
    std::fs::write(directory.path().join("secret"), "x").unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let python = venv.join("bin/python");
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_PYTHON", python.to_str().unwrap())]);
    let code = format!("import only_here, os; print(only_here.value, os.listdir({:?}))", directory.path());
    assert_eq!(interpreter.execute(&code)["stdout"], "from the venv ['venv']\n");

    // One that goes away and comes back, as in an upgrade, needs no restart.
    let away = directory.path().join("away");
    std::fs::rename(&venv, &away).unwrap();
    for _ in 0..2 {
        let answer = interpreter.post(&json!({ "source_code": code }));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(answer.status == 503 && detail.contains(venv.to_str().unwrap()), "{detail}");
    }
    std::fs::rename(&away, &venv).unwrap();
    assert_eq!(interpreter.execute(&code)["stdout"], "from the venv ['venv']\n");
}

#[test]
fn a_prefix_that_would_show_private_directories_is_refused() {
    let interpreter = {
        let fake = tempfile::tempdir().unwrap();
        let path = fake.path().join("fake_python3");
        // A Python whose prefix is the user's home itself.
        std::fs::write(
            &path,
            "#!/bin/sh\necho '{\"version\":[3,11,2],\"implementation\":\"cpython\",\"executable\":\"/usr/bin/python3\",\"prefixes\":[\"'$HOME'\"]}'\n",
        )
        .unwrap();
        for path in [fake.path(), &path] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_PYTHON", path.to_str().unwrap())]);
        let answer = interpreter.post(&json!({ "source_code": "" }));
        assert_eq!(answer.status, 503);
        assert!(answer.json()["detail"].as_str().unwrap().contains("programs must not see"));
        interpreter
    };
    drop(interpreter);
}

#[test]
fn a_killed_spawner_is_replaced() {
    let interpreter = Interpreter::start();
    assert_eq!(interpreter.execute("print(1)")["stdout"], "1\n");
    let spawner = interpreter.spawner();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(spawner as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    interpreter::wait_until("the spawner is gone", || !interpreter::children(interpreter.id()).contains(&spawner));
    assert_eq!(interpreter.execute("print(2)")["stdout"], "2\n");
    assert_ne!(interpreter.spawner(), spawner);
}

#[test]
fn an_input_file_that_is_changed_through_a_mapping_is_returned() {
    let interpreter = Interpreter::start();
    let id = interpreter.execute("open('x', 'w').write('aaaa')")["files"]["/workspace/x"].clone();
    let code = "import mmap
with open('x', 'r+b') as file, mmap.mmap(file.fileno(), 0) as memory:
    assert memory[:4] == b'aaaa'
    memory[:4] = b'bbbb'";
    let result = interpreter.post(&json!({ "source_code": code, "files": { "/workspace/x": id } })).json();
    assert!(result["files"]["/workspace/x"].is_string(), "{result}");
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
    interpreter::wait_until("all is logged", || lines("outcome=").len() == 5 && lines("not executed").len() == 1);
    assert!(lines("outcome=")[0].contains("execution_id=\"ab12-34\""), "{:?}", lines("outcome="));
    assert!(lines("not executed")[0].contains("execution_id=\"ab12-35\""), "{:?}", lines("not executed"));
    assert_eq!(lines("execution_id=").len(), 2, "{}", interpreter.log());
}
