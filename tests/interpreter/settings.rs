//! What the interpreter's settings change for programs: libraries, folders, the network, limits; and what is said of wrong ones.

use std::process::Command;

use crate::support::interpreter::{Interpreter, ordinary_user};
use crate::support::python_with_packages;
use serde_json::json;

const DAEMON: &str = env!("CARGO_BIN_EXE_python-interpreter-mcpd");

fn with_packages(preload: &str) -> Option<Interpreter> {
    let python = python_with_packages()?;
    Some(Interpreter::start_with(&[
        ("PYTHON_INTERPRETER_MCP_PYTHON", python.to_str().unwrap()),
        ("PYTHON_INTERPRETER_MCP_PRELOAD", preload),
    ]))
}

fn png(interpreter: &Interpreter, id: &serde_json::Value) -> bool {
    let path = format!("/v1/files/{}", id.as_str().unwrap());
    interpreter.request("GET", &path, &[], b"").body.starts_with(b"\x89PNG")
}

#[test]
fn shown_plots_are_saved() {
    for preload in ["numpy,matplotlib.pyplot", ""] {
        let Some(interpreter) = with_packages(preload) else { return };
        // With and without a variable that makes Python start anew.
        for env in [json!({}), json!({ "PYTHONHASHSEED": "1" })] {
            let code = "import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.show()
plt.figure(); plt.plot([2, 1]); plt.figure(); plt.show()
print(plt.get_fignums())";
            let result = interpreter.post(&json!({ "source_code": code, "env": env })).json();
            assert_eq!((&result["stdout"], &result["stderr"]), (&json!("[]\n"), &json!("")), "{result}");
            let files = result["files"].as_object().unwrap();
            let names: Vec<&String> = files.keys().collect();
            assert_eq!(names, ["/workspace/plot-2.png", "/workspace/plot-3.png", "/workspace/plot.png"]);
            assert!(files.values().all(|id| png(&interpreter, id)));
        }
    }
}

/// Each looks for a free name.
#[test]
fn plots_that_processes_show_at_the_same_time_are_all_saved() {
    let Some(interpreter) = with_packages("numpy,matplotlib.pyplot") else { return };
    let code = "import matplotlib.pyplot as plt, multiprocessing as mp
def show(barrier, number):
    plt.plot([number, 1]); barrier.wait(); plt.show()
if __name__ == '__main__':
    barrier = mp.Barrier(3)
    processes = [mp.Process(target=show, args=(barrier, number)) for number in range(3)]
    for process in processes: process.start()
    for process in processes: process.join()";
    for _ in 0..5 {
        let result = interpreter.execute(code);
        let files = result["files"].as_object().unwrap();
        assert_eq!((files.len(), &result["stderr"]), (3, &json!("")), "{result}");
        assert!(files.values().all(|id| png(&interpreter, id)));
    }
}

#[test]
fn shown_pictures_are_saved() {
    for preload in ["PIL.Image", ""] {
        let Some(interpreter) = with_packages(preload) else { return };
        let result = interpreter.execute("from PIL import Image\nfor _ in range(2): Image.new('RGB', (4, 4)).show()");
        let files = result["files"].as_object().unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["/workspace/image-2.png", "/workspace/image.png"], "{result}");
        assert!(files.values().all(|id| png(&interpreter, id)));
    }
}

#[test]
fn seeds_of_numpy_differ_from_program_to_program() {
    let Some(interpreter) = with_packages("numpy") else { return };
    let code = "import numpy, random, uuid; print(numpy.random.rand(), numpy.random.default_rng().random(), random.random(), uuid.uuid4())";
    let printed: Vec<String> =
        (0..6).map(|_| interpreter.execute(code)["stdout"].as_str().unwrap().to_owned()).collect();
    let numbers: std::collections::BTreeSet<&str> = printed.iter().flat_map(|line| line.split_whitespace()).collect();
    assert_eq!(numbers.len(), 24, "{printed:?}");
}

/// A Python with the module `ahead`, which holds `content`.
fn with_module(content: &str) -> (tempfile::TempDir, Interpreter) {
    let directory = tempfile::tempdir().unwrap();
    let venv = directory.path().join("venv");
    let made = Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(&venv).status();
    assert!(made.unwrap().success());
    let packages = std::fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
    std::fs::write(packages.join("ahead.py"), content).unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let interpreter = Interpreter::start_with(&[
        ("PYTHON_INTERPRETER_MCP_PYTHON", venv.join("bin/python").to_str().unwrap()),
        ("PYTHON_INTERPRETER_MCP_PRELOAD", "ahead"),
    ]);
    (directory, interpreter)
}

#[test]
fn openssl_that_was_used_ahead_gives_each_program_other_numbers() {
    let (_directory, interpreter) = with_module("import ssl; ssl.RAND_bytes(8)");
    let code = "import ssl; print(ssl.RAND_bytes(16).hex())";
    let numbers: std::collections::BTreeSet<String> =
        (0..6).map(|_| interpreter.execute(code)["stdout"].as_str().unwrap().to_owned()).collect();
    assert_eq!(numbers.len(), 6, "{numbers:?}");
}

#[test]
fn a_python_in_the_users_home_can_be_used_and_shows_nothing_else_of_it() {
    let interpreter = Interpreter::start();
    let home = interpreter.home.path();
    interpreter.private_file("secret", "x");
    let venv = home.join("venv");
    assert!(
        interpreter
            .command(std::path::Path::new("/usr/bin/python3"))
            .args(["-m", "venv", "--without-pip"])
            .arg(&venv)
            .status()
            .unwrap()
            .success()
    );
    let python = venv.join("bin/python");
    let environment = [("PYTHON_INTERPRETER_MCP_PYTHON", python.to_str().unwrap()), ("HOME", home.to_str().unwrap())];
    let inside = Interpreter::start_as(interpreter.user(), &environment);
    let code = format!("import os, sys; print(os.listdir({:?}), sys.prefix)", home.display().to_string());
    let expected = format!("['venv'] {}\n", venv.display());
    assert_eq!(inside.execute(&code)["stdout"], expected);
}

#[test]
fn what_is_imported_ahead_is_imported_once() {
    let (_directory, interpreter) = with_module("import time; imported = time.monotonic()");
    let code = "import ahead; print(ahead.imported)";
    assert_eq!(interpreter.execute(code)["stdout"], interpreter.execute(code)["stdout"]);
}

#[test]
fn what_cannot_be_preloaded_is_left_out() {
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_PRELOAD", "json,not_there")]);
    assert_eq!(interpreter.execute("import json; print(json.dumps(1))")["stdout"], "1\n");
}

#[test]
fn modules_imported_ahead_are_not_there_until_they_are_imported() {
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_PRELOAD", "json,decimal")]);
    let code = "import sys\nprint('json' in sys.modules, 'decimal' in sys.modules)\nimport json\nprint('json' in sys.modules, json.loads('[1]'))";
    assert_eq!(interpreter.execute(code)["stdout"], "False False\nTrue [1]\n");
    // A file of the program's own comes first, as beside any script.
    let code = "open('json.py', 'w').write('value = 5')\nimport json\nprint(json.value)";
    assert_eq!(interpreter.execute(code)["stdout"], "5\n");
}

#[test]
fn a_folder_can_be_shown_and_not_changed() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("table.csv"), "a,b\n").unwrap();
    std::fs::set_permissions(data.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mount = format!("{}:/data", data.path().display());
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_MOUNT", &mount)]);
    let result = interpreter.execute("print(open('/data/table.csv').read())\nopen('/data/new', 'w')");
    assert_eq!(result["stdout"], "a,b\n\n");
    assert!(result["stderr"].as_str().unwrap().contains("[Errno 30]"), "{result}");
}

#[test]
fn a_folder_that_holds_private_ones_is_not_shown() {
    let home = tempfile::tempdir().unwrap();
    for (variable, source) in
        [("XDG_STATE_HOME", home.path().join("state")), ("XDG_CONFIG_HOME", home.path().join("config"))]
    {
        std::fs::create_dir_all(source.join("inside")).unwrap();
        let user = ordinary_user();
        std::os::unix::fs::chown(&source, Some(user), None).unwrap();
        std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        for shown in [home.path(), source.as_path(), &source.join("inside")] {
            let mount = format!("{}:/data", shown.display());
            let environment = [("PYTHON_INTERPRETER_MCP_MOUNT", mount.as_str()), (variable, source.to_str().unwrap())];
            let interpreter = Interpreter::start_as(user, &environment);
            let answer = interpreter.post(&json!({ "source_code": "" }));
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(answer.status == 503 && detail.contains("programs must not see"), "{detail}");
        }
    }
}

#[test]
fn the_hosts_network_is_there_only_when_it_is_asked_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let code = format!("import socket\nsocket.create_connection(('127.0.0.1', {port}), 5); print('reached')");
    let health = |interpreter: &Interpreter| interpreter.request("GET", "/healthz", &[], b"").json();
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_NETWORK", "host")]);
    assert_eq!(interpreter.execute(&code)["stdout"], "reached\n");
    assert_eq!(health(&interpreter)["network"], "host");
    let interpreter = Interpreter::start();
    assert_eq!(interpreter.execute(&code)["exit_code"], 1);
    assert_eq!(health(&interpreter)["network"], "none");
}

#[test]
fn health_says_what_holds() {
    let interpreter = Interpreter::start();
    let health = interpreter.request("GET", "/healthz", &[], b"").json();
    let protections = health["protections"].as_object().unwrap();
    for name in
        ["files", "processes", "network", "capabilities", "no_new_privileges", "landlock", "seccomp", "descriptors"]
    {
        assert_eq!(protections[name], true, "{health}");
    }
    assert!(["watched", "control group"].contains(&health["memory_limit"].as_str().unwrap()), "{health}");
}

#[test]
fn processor_time_is_limited_and_named() {
    let interpreter = Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_CPU_TIME", "1")]);
    let result = interpreter.execute("print('before')\nwhile True: pass");
    assert_eq!((&result["exit_code"], &result["stdout"]), (&json!(137), &json!("before\n")), "{result}");
    assert!(result["stderr"].as_str().unwrap().contains("1 s of processor time, its limit"), "{result}");
}

#[test]
fn the_limit_behind_an_error_is_named() {
    let interpreter = Interpreter::start_with(&[
        ("PYTHON_INTERPRETER_MCP_FILE_SIZE", "1M"),
        ("PYTHON_INTERPRETER_MCP_OPEN_FILES", "32"),
        ("PYTHON_INTERPRETER_MCP_WORKSPACE", "4M"),
        ("PYTHON_INTERPRETER_MCP_PROCESSES", "16"),
        ("PYTHON_INTERPRETER_MCP_ADDRESS_SPACE", "256M"),
    ]);
    // A file of just that size, of a program that did not fail, is whole.
    let whole = interpreter.execute("open('x', 'wb').write(bytes(1 << 20))");
    assert!(whole["stderr"] == "" && whole["files"]["/workspace/x"].is_string(), "{whole}");
    let failed = "open('kept', 'w').write('x'); open('cut', 'wb').write(bytes(2 << 20))";
    let failed = interpreter.execute(failed);
    assert!(
        failed["files"]["/workspace/kept"].is_string() && failed["files"].get("/workspace/cut").is_none(),
        "{failed}"
    );
    assert!(
        failed["stderr"].as_str().unwrap().contains("File not returned: /workspace/cut: it is as large"),
        "{failed}"
    );
    for (code, words) in [
        ("open('x', 'wb').write(bytes(2 << 20))", "a file may have 1 MiB (PYTHON_INTERPRETER_MCP_FILE_SIZE)"),
        // As a library says it that looks at the length of what was written only.
        (
            "try: open('x', 'wb').write(bytes(2 << 20))\nexcept OSError: raise OSError('2097152 requested and 1048576 written') from None",
            "a file may have 1 MiB (PYTHON_INTERPRETER_MCP_FILE_SIZE)",
        ),
        ("x = [open('/dev/null') for _ in range(99)]", "32 open files (PYTHON_INTERPRETER_MCP_OPEN_FILES)"),
        ("for n in range(9): open(str(n), 'wb').write(bytes(1 << 20))", "hold 4 MiB and 65536 files (PYTHON"),
        (
            "import os, time\nfor _ in range(99):\n    if os.fork() == 0: time.sleep(60)",
            "16 processes and threads (PYTHON_INTERPRETER_MCP_PROCESSES)",
        ),
        (
            "import threading, time\nfor _ in range(99): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            "16 processes and threads (PYTHON_INTERPRETER_MCP_PROCESSES)",
        ),
        (
            "x = bytes(1 << 29)",
            "256 MiB of address space beyond what it starts with (PYTHON_INTERPRETER_MCP_ADDRESS_SPACE)",
        ),
    ] {
        let result = interpreter.execute(code);
        assert!(result["exit_code"] == 1 && result["stderr"].as_str().unwrap().contains(words), "{result}");
    }
}

#[test]
fn what_no_limit_has_caused_names_none() {
    let interpreter = Interpreter::start();
    for code in [
        "import socket\na, b = socket.socketpair(); a.setblocking(False); a.recv(1)",
        "raise RuntimeError('MemoryError was reported by the remote worker')",
        "import sys\nprint('OSError: Too many open files', file=sys.stderr)\nsys.exit(3)",
    ] {
        let result = interpreter.execute(code);
        assert!(result["exit_code"] != 0 && !result["stderr"].as_str().unwrap().contains("Limit: "), "{result}");
    }
}

#[test]
fn address_space_that_is_preloaded_is_not_the_programs() {
    let [plain, preloaded] =
        ["json", "json,decimal,asyncio,email,http.client,xml.dom,unittest,multiprocessing,sqlite3"].map(|modules| {
            let interpreter = Interpreter::start_with(&[
                ("PYTHON_INTERPRETER_MCP_ADDRESS_SPACE", "256M"),
                ("PYTHON_INTERPRETER_MCP_PRELOAD", modules),
            ]);
            let result = interpreter.execute("x = bytes(240 << 20)\nprint('reserved')");
            result["stdout"].clone()
        });
    assert_eq!([plain, preloaded], ["reserved\n", "reserved\n"]);
}

#[test]
fn wrong_settings_are_named() {
    for (flag, value, words) in [
        ("--memory", "lots", "it is not a size"),
        ("--memory", "1K", "it must be from"),
        ("--mount", "data:/data", "is not an absolute path"),
        ("--mount", "/data:/usr/data", "is taken"),
        ("--network", "all", "possible values"),
        ("--preload", "a b", "no module's name"),
        ("--cpu-time", "0", "not in"),
    ] {
        let output = Command::new(DAEMON).args(["interpreter", flag, value]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && stderr.contains(words), "{flag} {value}: {stderr}");
    }
}
