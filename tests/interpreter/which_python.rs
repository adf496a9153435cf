//! The Python that programs run in: a virtual environment is one, and what cannot be used is named.

use std::os::unix::fs::PermissionsExt;

use crate::support::interpreter::Interpreter;
use serde_json::json;

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
