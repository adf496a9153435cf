//! `exec`: through the daemon to the interpreter and back, as a person at a terminal sees it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::support::daemon::Home;
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use crate::support::processes::signal;
use crate::support::until;
use rustix::process::Signal;
use serde_json::{Value, json};

/// `exec` in this world, with this service; the daemon is started by it.
fn exec(home: &Home, interpreter: &FakeInterpreter) -> Command {
    let mut command = home.command();
    command.env("PYTHON_INTERPRETER_MCP_URL", interpreter.url()).current_dir(home.path()).arg("exec");
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn prints_what_the_program_prints_and_ends_as_it_ends() {
    let (home, interpreter) = (Home::new(), FakeInterpreter::start());
    for (exit_code, shown) in [(0, 0), (3, 3), (137, 137), (-1, 255), (4711, 255)] {
        let answer = json!({"stdout": "a\0é\n\u{1b}[1m", "stderr": "no end", "exit_code": exit_code, "files": {}});
        interpreter.answer_next(Answer::Json(answer));
        let output = exec(&home, &interpreter).arg("print('Hello')").output().unwrap();
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("a\0é\n\u{1b}[1m", "no end"));
        assert_eq!(output.status.code(), Some(shown));
    }
    assert_eq!(home.processes().len(), 1, "one daemon was started and stays");
    assert_eq!((interpreter.accepted(), interpreter.requests().len()), (1, 5));
}

#[test]
fn takes_a_program_from_the_command_line_a_file_or_standard_input() {
    let (home, interpreter) = (Home::new(), FakeInterpreter::start());
    fs::write(home.path().join("script.py"), "from a file").unwrap();
    let run = |arguments: &[&str]| {
        let output = exec(&home, &interpreter).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        interpreter.requests().last().unwrap().source_code()
    };
    assert_eq!(run(&["print(1)"]), "print(1)");
    assert_eq!(run(&["script.py"]), "from a file");
    assert_eq!(run(&["-c", "script.py"]), "script.py");
    let mut child = exec(&home, &interpreter).arg("-").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from a pipe").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(interpreter.requests().last().unwrap().source_code(), "from a pipe");
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is_started() {
    let (home, interpreter) = (Home::new(), FakeInterpreter::start());
    fs::write(home.path().join("latin1.py"), b"# \xe9").unwrap();
    for (argument, said) in [("mistyped.py", "no file mistyped.py"), ("latin1.py", "not UTF-8")] {
        let output = exec(&home, &interpreter).arg(argument).output().unwrap();
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(said), "{output:?}");
    }
    assert!(!exec(&home, &interpreter).output().unwrap().status.success());
    assert!(home.processes().is_empty());
}

#[test]
fn an_error_is_told_on_stderr_with_its_exit_code() {
    let (home, interpreter) = (Home::new(), FakeInterpreter::start());
    interpreter.answer_next(Answer::status("502 Bad Gateway", b"down"));
    let output = exec(&home, &interpreter).arg("1").output().unwrap();
    assert_eq!((text(&output.stderr), output.status.code()), ("HTTP error 502: down\n", Some(1)));
    let code = "#".repeat(5 << 20);
    fs::write(home.path().join("long.py"), code).unwrap();
    let output = exec(&home, &interpreter).arg("long.py").output().unwrap();
    assert!(!output.status.success() && text(&output.stderr).contains("limit is 4 MiB"), "{output:?}");
}

#[test]
fn an_interrupt_ends_the_run() {
    let (home, interpreter) = (Home::new(), FakeInterpreter::start());
    interpreter.answer_next(Answer::Hold);
    // Whoever runs the tests may ignore interrupts, as a shell's background jobs do, and `exec` would inherit that.
    let exec = exec(&home, &interpreter);
    let mut command = Command::new("env");
    command.env_clear().envs(exec.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(home.path());
    command.arg("--default-signal=INT").arg(exec.get_program()).args(exec.get_args()).arg("while True: pass");
    let mut child = command.spawn().unwrap();
    interpreter.wait_for_requests(1);
    signal(child.id(), Signal::INT);
    let mut status = None;
    until("its end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    // Which a shell shows as 130.
    assert_eq!(status.unwrap().signal(), Some(2));
    interpreter.wait_for_ended(1);
}

#[test]
fn many_at_once_start_one_daemon() {
    let (home, interpreter) = (Home::new(), FakeInterpreter::start());
    let children: Vec<_> = (0..10).map(|_| exec(&home, &interpreter).arg("1").spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(home.processes().len(), 1);
    assert_eq!(interpreter.requests().len(), 10);
}

#[test]
fn files_of_a_service_without_a_download_are_a_clear_error() {
    let (home, interpreter) = (Home::new(), FakeInterpreter::start());
    let answer = json!({"stdout": "made\n", "stderr": "", "exit_code": 0, "files": {"/workspace/a": "id"}});
    interpreter.answer_next(Answer::Json(answer));
    let output = exec(&home, &interpreter).args(["--output", "out", "1"]).output().unwrap();
    assert_eq!((text(&output.stdout), output.status.code()), ("made\n", Some(1)));
    assert!(text(&output.stderr).contains("offers no download"), "{output:?}");
}

/// An embedded interpreter in the test: answers every execution with these files, and gives them out.
fn serve_embedded(home: &Home, files: BTreeMap<&'static str, &'static str>) {
    let directory = home.socket().parent().unwrap().to_owned();
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    let listener = UnixListener::bind(directory.join("interpreter.sock")).unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let files = files.clone();
            thread::spawn(move || answer_embedded(connection.unwrap(), &files));
        }
    });
}

fn answer_embedded(connection: UnixStream, files: &BTreeMap<&str, &str>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut writer = connection;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        if let Some(line) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
            length = line.parse().unwrap();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let answer = match head.strip_prefix("GET /v1/files/id_") {
            Some(rest) => rest.split(' ').next().unwrap().repeat(100_000),
            None => {
                assert_eq!(serde_json::from_slice::<Value>(&body)?["timeout_seconds"], 300.0);
                json!({"stdout": "", "stderr": "", "exit_code": 0, "files": files}).to_string()
            }
        };
        write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len())?;
    }
}

fn exec_embedded(home: &Home, more: &[&str]) -> Output {
    let mut command = home.command();
    command.current_dir(home.path()).args(["exec", "--output", "out/deep", "1"]).args(more).output().unwrap()
}

#[test]
fn saves_the_files_of_the_embedded_interpreter() {
    let home = Home::new();
    serve_embedded(&home, BTreeMap::from([("/workspace/a", "id_A"), ("/workspace/b/c d.png", "id_B")]));
    let out = home.path().join("out/deep");
    fs::create_dir_all(&out).unwrap();
    let output = exec_embedded(&home, &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(out.join("a")).unwrap(), "A".repeat(100_000));
    assert_eq!(fs::read_to_string(out.join("b/c d.png")).unwrap(), "B".repeat(100_000));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "nothing half done is left");
}

#[test]
fn replaces_a_file_or_a_link_only_when_told_to() {
    let home = Home::new();
    serve_embedded(
        &home,
        BTreeMap::from([("/workspace/a", "id_A"), ("/workspace/b", "id_B"), ("/workspace/c", "id_C")]),
    );
    let out = home.path().join("out/deep");
    fs::create_dir_all(&out).unwrap();
    fs::write(home.path().join("precious"), "kept").unwrap();
    symlink(home.path().join("precious"), out.join("a")).unwrap();
    fs::write(out.join("b"), "mine").unwrap();
    let output = exec_embedded(&home, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("/workspace/a could not be saved: it exists; use --force"), "{said}");
    assert!(said.contains("2 of 3 file(s) were not saved"), "{said}");
    assert_eq!(fs::read_to_string(out.join("b")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(out.join("c")).unwrap(), "C".repeat(100_000), "the others are saved");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3, "nothing half done is left");

    assert!(exec_embedded(&home, &["--force"]).status.success());
    assert_eq!(fs::read_to_string(out.join("a")).unwrap(), "A".repeat(100_000));
    assert_eq!(fs::read_to_string(home.path().join("precious")).unwrap(), "kept", "a link is replaced, not followed");
}

#[test]
fn saves_nothing_hidden_even_when_told_to_replace() {
    for path in ["/workspace/.git/config", "/workspace/.bashrc", "/workspace/a/.b/c", "/workspace/.\u{1b}]0;title\u{7}"]
    {
        let home = Home::new();
        serve_embedded(&home, BTreeMap::from([(path, "id_A")]));
        let output = exec_embedded(&home, &["--force"]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        let said = text(&output.stderr);
        assert!(said.contains(&format!("{} could not be saved: its path is hidden", path.escape_debug())), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert_eq!(fs::read_dir(home.path().join("out/deep")).unwrap().count(), 0);
    }
}

#[test]
fn saves_nothing_outside_the_directory() {
    for path in ["/workspace/../../evil", "/etc/evil", "/workspace/link/evil", "relative"] {
        let home = Home::new();
        serve_embedded(&home, BTreeMap::from([(path, "id_A")]));
        let (out, outside) = (home.path().join("out/deep"), home.path().join("outside"));
        fs::create_dir_all(&out).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, out.join("link")).unwrap();
        let output = exec_embedded(&home, &[]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        assert!(text(&output.stderr).contains(&format!("{path} could not be saved")), "{output:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    }
}
