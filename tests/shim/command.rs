//! What the shim tells a person who runs it, and what it is made of.

use std::process::{Command, Output, Stdio};

use crate::support::{Home, SHIM};

fn run(arguments: &[&str]) -> Output {
    Command::new(SHIM).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn prints_help_and_version_on_stdout() {
    for flag in ["--help", "-h"] {
        let output = run(&[flag]);
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(output.stdout.starts_with(b"Usage: python-interpreter-mcp"));
    }
    for flag in ["--version", "-V"] {
        let output = run(&[flag]);
        assert!(output.status.success() && output.stderr.is_empty());
        assert_eq!(output.stdout, format!("python-interpreter-mcp {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    }
}

#[test]
fn refuses_other_arguments_with_one_line_on_stderr() {
    for arguments in [&["serve"][..], &["--help", "x"], &[""]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("python-interpreter-mcp: Usage: "), "{said}");
    }
}

#[test]
fn tells_a_person_at_a_terminal_how_a_client_is_configured() {
    let home = Home::new();
    let in_a_terminal = "import os, pty, sys\n\
        main, terminal = pty.openpty()\n\
        os.set_inheritable(main, True)\n\
        os.dup2(terminal, 0)\n\
        os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", in_a_terminal, SHIM]).env("XDG_RUNTIME_DIR", home.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    let snippet: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    let program = snippet["mcpServers"]["python-interpreter"]["command"].as_str().unwrap();
    assert_eq!(program, std::fs::canonicalize(SHIM).unwrap().to_str().unwrap());
    assert!(!home.path().join("python-interpreter-mcp").exists(), "nothing is created for a look");
}

#[test]
fn links_no_async_runtime() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--offline", "--package", "python-interpreter-mcp", "--edges", "normal", "--prefix", "none"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("rustix "), "{}", String::from_utf8_lossy(&output.stderr));
    for runtime in ["tokio", "async-std", "smol", "futures", "mio"] {
        assert!(!tree.lines().any(|line| line.starts_with(runtime)), "{runtime} is linked:\n{tree}");
    }
}
