//! The shim outlives its daemon: what the client waits for is answered, once, and what it says next goes to another daemon.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::Shutdown,
    os::fd::AsFd as _,
    os::unix::net::{UnixListener, UnixStream},
    process::{ChildStdin, ChildStdout},
};

use crate::support::{Home, Running, accept, within};
use serde_json::{Value, json};

/// The client's side of a shim.
struct Client {
    shim: Running,
    input: ChildStdin,
    output: Option<BufReader<ChildStdout>>,
}

impl Client {
    fn launch(home: &Home) -> Self {
        let mut shim = Running::start(&mut home.shim());
        let (input, output) = (shim.0.stdin.take().unwrap(), BufReader::new(shim.0.stdout.take().unwrap()));
        Self { shim, input, output: Some(output) }
    }

    fn send(&mut self, frame: &Value) {
        writeln!(self.input, "{frame}").unwrap();
    }

    fn read(&mut self) -> Value {
        let mut output = self.output.take().unwrap();
        let (line, output) = within("an answer", move || {
            let mut line = String::new();
            output.read_line(&mut line).map(|_| (line, output)).unwrap()
        });
        self.output = Some(output);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

/// A client whose shim has reached a daemon, which is played by the test.
fn connected() -> (Home, UnixListener, Client, UnixStream) {
    let home = Home::new();
    let listener = home.listen();
    let client = Client::launch(&home);
    let daemon = accept(&listener);
    (home, listener, client, daemon)
}

fn request(id: impl Into<Value>, method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": {}})
}

fn answer(id: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "result": {}})
}

/// Frames as a daemon reads them.
fn frames(daemon: &UnixStream) -> impl FnMut() -> Value + use<> {
    let mut lines = BufReader::new(daemon.try_clone().unwrap()).lines();
    move || serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
}

fn say(mut daemon: &UnixStream, frame: &Value) {
    writeln!(daemon, "{frame}").unwrap();
}

/// The daemon ends. Closing alone could take effect later: a child that another test is just starting has the socket as well.
fn end(daemon: &UnixStream) {
    daemon.shutdown(Shutdown::Both).unwrap();
}

#[test]
fn whoever_waits_gets_an_error_and_the_next_request_another_daemon() {
    let (_home, listener, mut client, daemon) = connected();
    let mut next = frames(&daemon);
    for id in [json!(1), json!("1"), json!(2), json!(3)] {
        client.send(&request(id.clone(), "tools/call"));
        assert_eq!(next()["id"], id);
    }
    say(&daemon, &answer(2));
    assert_eq!(client.read()["id"], 2);
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}));
    next();
    (&daemon).write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"resu").unwrap();
    end(&daemon);

    for id in [json!(1), json!("1")] {
        let error = client.read();
        assert_eq!((&error["id"], &error["error"]["code"]), (&id, &json!(-32603)), "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains("may or may not have run"), "{error}");
    }
    client.send(&request(4, "tools/call"));
    let daemon = accept(&listener);
    assert_eq!(frames(&daemon)(), request(4, "tools/call"), "unchanged, and nothing before it");
    say(&daemon, &answer(4));
    assert_eq!(client.read(), answer(4), "neither the half of an answer nor a second error");
}

#[test]
fn a_handshake_is_repeated_and_the_client_told_once_that_lists_may_differ() {
    let (_home, listener, mut client, daemon) = connected();
    let mut next = frames(&daemon);
    let (hello, ready) = (request("h", "initialize"), json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    client.send(&hello);
    assert_eq!(next(), hello);
    say(&daemon, &answer("h"));
    assert_eq!(client.read(), answer("h"));
    client.send(&ready);
    assert_eq!(next(), ready);
    end(&daemon);

    for round in 0..3 {
        client.send(&request(round, "tools/list"));
        let daemon = accept(&listener);
        let mut next = frames(&daemon);
        assert_eq!([next(), next(), next()], [hello.clone(), ready.clone(), request(round, "tools/list")]);
        say(&daemon, &answer("h"));
        say(&daemon, &answer(round));
        assert_eq!(client.read()["method"], "notifications/tools/list_changed");
        assert_eq!(client.read(), answer(round), "the handshake's answer came once, long ago");
        end(&daemon);
    }
}

#[test]
fn a_handshake_that_was_not_answered_is_made_with_the_next_daemon() {
    let (_home, listener, mut client, daemon) = connected();
    client.send(&request(0, "initialize"));
    assert_eq!(frames(&daemon)(), request(0, "initialize"));
    end(&daemon);
    // The client has nothing else to say, and waits.
    let daemon = accept(&listener);
    assert_eq!(frames(&daemon)(), request(0, "initialize"));
    say(&daemon, &answer(0));
    assert_eq!(client.read(), answer(0));
}

#[test]
fn a_frame_that_was_cut_is_answered_and_the_next_one_is_whole() {
    let (_home, listener, mut client, daemon) = connected();
    // Longer than the socket and the relay hold together, so that its end is not there when the daemon dies.
    let long =
        json!({"jsonrpc": "2.0", "method": "tools/call", "params": {"code": "x".repeat(4 << 20)}, "id": 5}).to_string();
    let mut input = File::from(client.input.as_fd().try_clone_to_owned().unwrap());
    let sent = std::thread::spawn(move || input.write_all(format!("{long}\n").as_bytes()).unwrap());
    (&daemon).read_exact(&mut [0; 4096]).unwrap();
    end(&daemon);
    sent.join().unwrap();
    let error = client.read();
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(5), &json!(-32603)), "{error}");
    client.send(&request(6, "ping"));
    let daemon = accept(&listener);
    assert_eq!(frames(&daemon)(), request(6, "ping"));
}

#[test]
fn without_another_daemon_requests_are_refused_and_the_shim_stays() {
    let (home, listener, mut client, daemon) = connected();
    client.send(&request(1, "ping"));
    frames(&daemon)();
    drop(listener);
    std::fs::remove_file(home.socket()).unwrap();
    end(&daemon);
    assert_eq!(client.read()["id"], 1);
    for id in [2, 3] {
        client.send(&request(id, "ping"));
        let error = client.read();
        assert_eq!(error["id"], id);
        assert!(error["error"]["message"].as_str().unwrap().contains("was not run"), "{error}");
    }
    let listener = home.listen();
    // Tries are at least a second apart.
    let mut id = 3;
    let daemon = loop {
        id += 1;
        client.send(&request(id, "ping"));
        listener.set_nonblocking(true).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        match listener.accept() {
            Ok((daemon, _)) => break daemon,
            Err(_) => assert_eq!(client.read()["id"], id),
        }
        assert!(id < 20, "never tried again");
    };
    daemon.set_nonblocking(false).unwrap();
    assert_eq!(frames(&daemon)(), request(id, "ping"));
    drop(client.input);
    assert_eq!(frames_end(&daemon), 0);
    drop(daemon);
    assert_eq!(client.shim.ended_promptly(), Some(0));
}

fn frames_end(mut daemon: &UnixStream) -> usize {
    daemon.read(&mut [0; 64]).unwrap()
}
