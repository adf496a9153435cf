//! The whole path with the embedded interpreter behind it: `exec`, time limits, and an interpreter that leaves, dies or cannot
//! isolate.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};
use std::time::Duration;

use crate::support::launcher::shim;
use crate::support::processes::signal;
use crate::support::raw_client::RawClient;
use crate::support::world::{Running, World};
use crate::support::{PATIENCE, launcher, until};
use rustix::process::Signal;

fn exec(world: &World, arguments: &[&str]) -> Output {
    world.command(launcher::daemon()).arg("exec").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn exec_prints_exits_and_saves_as_the_program_did() {
    let world = World::new();
    let program = "import os, sys
print('out'); print('err', file=sys.stderr)
os.makedirs('plots'); open('plots/a.bin', 'wb').write(bytes(range(256))); open('b.txt', 'w').write('b')
sys.exit(3)";
    let directory = world.path().join("saved");
    let output = exec(&world, &[program, "--output", directory.to_str().unwrap()]);
    assert_eq!((text(&output.stdout), text(&output.stderr), output.status.code()), ("out\n", "err\n", Some(3)));
    assert_eq!(std::fs::read(directory.join("plots/a.bin")).unwrap(), (0..=255).collect::<Vec<u8>>());
    assert_eq!(std::fs::read_to_string(directory.join("b.txt")).unwrap(), "b");
    assert_eq!((world.daemons().len(), world.interpreters().len()), (1, 1));
}

#[test]
fn a_time_limit_keeps_what_was_printed() {
    let world = World::new();
    let mut command = world.command(launcher::daemon());
    let output = command.args(["exec", "print('before')\nwhile True: pass"]).env("PYTHON_INTERPRETER_MCP_TIMEOUT", "1");
    let output = output.output().unwrap();
    assert_eq!((text(&output.stdout), output.status.code()), ("before\n", Some(124)));
    assert!(text(&output.stderr).contains("PYTHON_INTERPRETER_MCP_TIMEOUT"), "{}", text(&output.stderr));
}

#[test]
fn status_and_doctor_say_how_memory_is_limited_and_why() {
    let world = World::new();
    assert_eq!(text(&exec(&world, &["print(1)"]).stdout), "1\n");
    for (command, lines) in [
        ("status", ["memory       limit: watched (", "memory       limit: control group ("]),
        (
            "doctor",
            [
                "note   memory limit   watched, not kept by control groups (",
                "ok     memory limit   kept by control groups, in ",
            ],
        ),
    ] {
        let output = world.command(launcher::daemon()).arg(command).output().unwrap();
        let said = text(&output.stdout).lines().find(|line| lines.iter().any(|start| line.starts_with(start)));
        let reason = said.and_then(|line| lines.iter().find_map(|start| line.strip_prefix(start)));
        assert!(reason.is_some_and(|reason| reason.len() > 10), "{command}: {}", text(&output.stdout));
    }
}

#[test]
fn daemon_and_interpreter_leave_when_idle_and_are_started_again() {
    let world = World::new();
    let run = || {
        let mut command = world.command(launcher::daemon());
        command.args(["exec", "print(6 * 7)"]).env("PYTHON_INTERPRETER_MCP_IDLE_EXIT", "1");
        let output = command.output().unwrap();
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("42\n", ""));
    };
    run();
    until("both have left", || world.daemons().is_empty() && world.interpreters().is_empty());
    for socket in ["mcp.sock", "interpreter.sock"] {
        assert!(!world.path().join("python-interpreter-mcp").join(socket).exists(), "{socket}");
    }
    run();
}

#[test]
fn without_a_home_that_can_be_written_to_programs_still_run() {
    let world = World::new();
    let mut command = world.command(launcher::daemon());
    command.env("HOME", "/proc/none").env_remove("XDG_STATE_HOME").args([
        "exec",
        "open('x', 'w').write('kept')",
        "--output",
    ]);
    let output = command.arg(world.path().join("saved")).output().unwrap();
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
    assert_eq!(std::fs::read_to_string(world.path().join("saved/x")).unwrap(), "kept");
}

#[test]
fn a_wrong_setting_is_told_to_whoever_started_the_daemon_and_an_empty_one_is_none() {
    let world = World::new();
    let run = |value: &str| {
        let mut command = world.command(launcher::daemon());
        command.env("PYTHON_INTERPRETER_MCP_TIMEOUT", value).args(["exec", "print(1)"]).output().unwrap()
    };
    let wrong = run("abc");
    assert!(text(&wrong.stderr).contains("invalid value 'abc' for '--timeout"), "{}", text(&wrong.stderr));
    // The one that could not start answers whoever comes while it leaves.
    until("the next daemon serves", || text(&run("").stdout) == "1\n");
}

#[test]
fn in_a_terminal_the_log_is_for_people() {
    let world = World::new();
    // A terminal of its own, until the daemon serves.
    let command = format!("timeout 60 {} serve", launcher::daemon());
    let mut terminal = world.command("script");
    let mut terminal =
        terminal.args(["-qefc", &command, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(terminal.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("serving") && line.contains("\u{1b}["), "{line:?}");
    for daemon in world.daemons() {
        signal(daemon, Signal::TERM);
    }
    terminal.wait().unwrap();
}

#[test]
fn a_program_cannot_pretend_to_have_been_stopped() {
    let world = World::new();
    let mut client = RawClient::launch(world.command(shim()).env("PYTHON_INTERPRETER_MCP_TIMEOUT", "2"));
    let forged = client.initialize_and_call("import sys; print('Timeout: forged', file=sys.stderr); sys.exit(124)");
    assert_eq!((&forged["isError"], &forged["structuredContent"]["exit_code"]), (&false.into(), &124.into()));
    let stopped = client.call("while True: pass");
    assert_eq!((&stopped["isError"], &stopped["structuredContent"]["exit_code"]), (&true.into(), &124.into()));
}

#[test]
fn a_call_that_arrives_while_the_interpreter_leaves_is_served() {
    let world = World::new();
    let socket = world.path().join("python-interpreter-mcp/interpreter.sock");
    let mut command = world.command(launcher::daemon());
    let mut interpreter = Running::start(command.args(["interpreter", "--background", "--idle-exit", "1"])).unwrap();
    let id = interpreter.0.id();
    until("it serves", || UnixStream::connect(&socket).is_ok());
    signal(id, Signal::STOP);
    let mut stream = UnixStream::connect(&socket).unwrap();
    // It stands still until its time is over; that is the one thing that no event tells.
    std::thread::sleep(Duration::from_millis(1100));
    signal(id, Signal::CONT);
    let body = r#"{"source_code": "print('served')"}"#;
    let head = "POST /v1/execute HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("served"), "{answer}");
    assert!(interpreter.ended_within(PATIENCE).is_some_and(|status| status.success()));
    assert!(!socket.exists());
}

#[test]
fn a_killed_interpreter_fails_its_call_only() {
    let world = World::new();
    let mut client = RawClient::launch(&mut world.command(shim()));
    assert_eq!(client.initialize_and_call("print(1)")["structuredContent"]["stdout"], "1\n");
    let interpreter = world.interpreters()[0];
    let mut victim = RawClient::launch(&mut world.command(shim()));
    let failed = std::thread::scope(|scope| {
        let call = scope.spawn(|| victim.initialize_and_call("while True: pass"));
        // The program's environment is its own, so it is looked for below the interpreter.
        until("the program runs", || world.programs() > 0);
        signal(interpreter, Signal::KILL);
        call.join().unwrap()
    });
    assert_eq!(failed["isError"], true, "{failed}");
    assert!(failed["structuredContent"]["stderr"].as_str().unwrap().starts_with("Request error: "), "{failed}");
    // A process that is dying loses its memory first, by which it would be found, and then its socket.
    let socket = world.path().join("python-interpreter-mcp/interpreter.sock");
    until("nothing of it is left", || {
        !world.interpreters().contains(&interpreter) && UnixStream::connect(&socket).is_err()
    });
    let after = client.call("print(2)");
    assert_eq!(after["structuredContent"]["stdout"], "2\n", "{after}");
    assert_ne!(world.interpreters(), [interpreter]);
}

#[test]
fn where_the_kernel_does_not_isolate_nothing_runs_and_the_remedy_is_told() {
    let world = World::new();
    // A user namespace may forbid further ones to itself.
    let forbidden = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let mut command = world.command("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", forbidden, "sh", launcher::daemon(), "exec"]);
    let output = command.arg("open('/tmp/ran', 'w'); print('RAN')").output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!((text(&output.stdout), output.status.code()), ("", Some(1)), "{stderr}");
    assert!(stderr.contains("cannot isolate Python") && stderr.contains("user.max_user_namespaces"), "{stderr}");
}

#[test]
fn a_second_call_needs_no_new_process_but_its_slot() {
    let world = World::new();
    exec(&world, &["pass"]);
    let before = (world.daemons(), world.interpreters());
    for _ in 0..20 {
        assert_eq!(text(&exec(&world, &["print('again')"]).stdout), "again\n");
    }
    assert_eq!((world.daemons(), world.interpreters()), before);
}

#[test]
fn the_command_line_explains_itself() {
    let world = World::new();
    let help = world.command(launcher::daemon()).arg("--help").output().unwrap();
    for command in ["serve", "exec", "interpreter"] {
        assert!(text(&help.stdout).contains(command), "{}", text(&help.stdout));
    }
    assert!(!text(&help.stdout).contains("spawner"));
    let outside =
        world.command(launcher::daemon()).args(["interpreter", "--listen", "0.0.0.0:50081"]).output().unwrap();
    assert!(text(&outside.stderr).contains("use 127.0.0.1"), "{}", text(&outside.stderr));
}
