//! The shim ends when its client does, or its parent, and never leaves a client waiting.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use crate::support::{Home, Running, SHIM, accept, within};

#[test]
fn exits_when_the_client_closes_stdin() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let mut daemon = accept(&listener);
    drop(shim.0.stdin.take());
    assert_eq!(daemon.read(&mut [0]).unwrap(), 0);
    drop(daemon);
    assert_eq!(shim.ended_promptly(), Some(0));
    assert_eq!(shim.stderr(), "");
}

#[test]
fn delivers_the_last_answer_after_the_client_has_closed_stdin() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let mut daemon = accept(&listener);
    let mut input = shim.0.stdin.take().unwrap();
    input.write_all(b"request\n").unwrap();
    drop(input);
    let mut request = String::new();
    daemon.read_to_string(&mut request).unwrap();
    assert_eq!(request, "request\n");
    daemon.write_all(b"answer\n").unwrap();
    drop(daemon);
    assert_eq!(shim.ended_promptly(), Some(0));
    let mut answer = String::new();
    shim.0.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer\n");
}

#[test]
fn leaves_a_daemon_that_does_not_close_after_the_client_did() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let _daemon = accept(&listener);
    drop(shim.0.stdin.take());
    assert_eq!(shim.ended().code(), Some(0));
}

#[test]
fn exits_when_the_client_closes_stdout_while_all_is_quiet() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let _daemon = accept(&listener);
    drop(shim.0.stdout.take());
    assert_eq!(shim.ended_promptly(), Some(0));
}

#[test]
fn exits_when_the_client_closes_stdout_before_an_answer() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let mut daemon = accept(&listener);
    drop(shim.0.stdout.take());
    // Either this is delivered to nobody, or the shim is gone already.
    let _ = daemon.write_all(&[b'x'; 300_000]);
    assert_eq!(shim.ended_promptly(), Some(0));
}

#[test]
fn exits_when_its_parent_dies_although_its_pipes_stay_open() {
    let home = Home::new();
    let listener = home.listen();
    let (their_input, _our_input) = io::pipe().unwrap();
    let (_our_output, their_output) = io::pipe().unwrap();
    let (mut ended, witness) = io::pipe().unwrap();
    // The shell stays as the parent because a command follows; stderr is inherited only by the two of them.
    let mut parent = Command::new("/bin/sh");
    parent.args(["-c", &format!("{SHIM}; exit $?")]).env_clear();
    parent.env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
    parent.stdin(OwnedFd::from(their_input)).stdout(OwnedFd::from(their_output)).stderr(OwnedFd::from(witness));
    let mut running = Running::start(&mut parent);
    drop(parent);
    let mut daemon = accept(&listener);
    running.0.kill().unwrap();
    assert_eq!(daemon.read(&mut [0]).unwrap(), 0);
    let said = within("the shim's end", move || {
        let mut said = String::new();
        ended.read_to_string(&mut said).map(|_| said).unwrap()
    });
    assert_eq!(said, "");
}

#[test]
fn relays_a_file_to_a_file() {
    let home = Home::new();
    let listener = home.listen();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    let request = [crate::support::noise(300_000, 4), b"\n".to_vec()].concat();
    fs::write(&from, &request).unwrap();
    let mut command = home.shim();
    command.stdin(Stdio::from(fs::File::open(&from).unwrap())).stdout(Stdio::from(fs::File::create(&to).unwrap()));
    let mut shim = Running::start(&mut command);
    let mut daemon = accept(&listener);
    let mut arrived = Vec::new();
    daemon.read_to_end(&mut arrived).unwrap();
    assert!(arrived == request);
    daemon.write_all(&request).unwrap();
    drop(daemon);
    assert_eq!(shim.ended_promptly(), Some(0));
    assert!(fs::read(&to).unwrap() == request);
}
