//! Eight clients at once with good and hostile programs for a while: every good one is answered rightly, and afterwards nothing is
//! left of any. How long the good ones took is printed, and judged by whoever reads it.
//!
//! `PYTHON_INTERPRETER_MCP_TEST_LOAD_SECONDS` sets how long; 10 by default.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::interpreter::{Interpreter, LEFT_BEHIND};
use crate::support::processes::descendants;
use crate::support::until;
use serde_json::{Value, json};

const CLIENTS: usize = 8;
/// Of so many programs of a client, one is hostile.
const ONE_HOSTILE_OF: usize = 5;
/// The interpreter's own limit on the memory of all processes of a program together.
const MEMORY: (&str, &str) = ("PYTHON_INTERPRETER_MCP_MEMORY", "256M");

/// A program with what it prints.
fn good(number: usize) -> (String, String) {
    match number % 5 {
        0 => (format!("print({number} * {number})"), format!("{}\n", number * number)),
        1 => (format!("import json\nprint(json.dumps({{'number': {number}}}))"), format!("{{\"number\": {number}}}\n")),
        2 => (format!("open('result', 'w').write('{number}')\nprint('written')"), "written\n".to_owned()),
        3 => (
            format!(
                "import subprocess\nprint(subprocess.run(['echo', '{number}'], capture_output=True, text=True).stdout.strip())"
            ),
            format!("{number}\n"),
        ),
        _ => (
            format!(
                "from concurrent.futures import ThreadPoolExecutor as Pool\nprint(sum(Pool().map(int, '{number}')))"
            ),
            format!("{}\n", number.to_string().bytes().map(|digit| u32::from(digit - b'0')).sum::<u32>()),
        ),
    }
}

/// Programs that take what they get, each with its time limit in seconds and the exit codes that it may end with.
fn hostile() -> Vec<(String, f64, &'static [i64])> {
    [
        ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", 1.0, &[124, 137][..]),
        ("x = []\nwhile True: x.append(b'x' * (8 << 20) + str(len(x)).encode())", 30.0, &[1, 137]),
        ("import os\nfor _ in range(8):\n    if os.fork() == 0: x = b'x' * (64 << 20); os.read(os.pipe()[0], 1)\nos.read(os.pipe()[0], 1)", 3.0, &[124, 137]),
        ("import os\nfor _ in range(2000): os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)", 30.0, &[0]),
        ("import sys\nwhile True: print('endless')", 1.0, &[124]),
        ("for number in range(1000): open(f'/tmp/LEFT{number}', 'wb').write(b'x' * (1 << 20))", 30.0, &[1, 137]),
        ("for number in range(100_000): open(f'/dev/shm/LEFT{number}', 'w').close()", 30.0, &[1]),
        ("for number in range(3000): open(f'file{number}', 'w').write(str(number))", 30.0, &[0]),
        ("import ctypes\nctypes.string_at(0)", 30.0, &[139]),
        ("import os\nos.kill(-1, 9); os.kill(0, 9)", 30.0, &[0, 1, 137]),
        ("import subprocess\nfor _ in range(20): subprocess.Popen(['sleep', '1000'], start_new_session=True)", 30.0, &[0]),
        ("import signal\nfor number in range(1, 64):\n    try: signal.signal(number, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass", 1.0, &[124]),
        ("import os, socket\nfor fd in range(256):\n    try: os.close(fd)\n    except OSError: pass\nos._exit(5)", 30.0, &[5]),
        ("import builtins, sys\nbuiltins.print = None; sys.modules.clear(); sys.exit(6)", 30.0, &[6]),
    ]
    .map(|(code, seconds, exit_codes)| (code.replace("LEFT", LEFT_BEHIND), seconds, exit_codes))
    .into()
}

/// What one client has seen.
#[derive(Default)]
struct Seen {
    /// How long each good program took.
    good: Vec<Duration>,
    hostile: usize,
}

fn client(interpreter: &Interpreter, client: usize, end: Instant) -> Seen {
    let (mut seen, hostile) = (Seen::default(), hostile());
    for number in (client..).step_by(CLIENTS) {
        if Instant::now() > end {
            break;
        }
        if number / CLIENTS % ONE_HOSTILE_OF == client % ONE_HOSTILE_OF {
            // Each client begins elsewhere, so that in a short time all of them have their turn.
            let (code, seconds, exit_codes) = &hostile[(seen.hostile + 2 * client) % hostile.len()];
            let result = interpreter.run_for(*seconds, code);
            let shown = || result.to_string().chars().take(2000).collect::<String>();
            assert!(exit_codes.contains(&result["exit_code"].as_i64().unwrap()), "{code}\n{}", shown());
            seen.hostile += 1;
        } else {
            let (code, expected) = good(number);
            let started = Instant::now();
            let result = interpreter.execute(&code);
            seen.good.push(started.elapsed());
            let outcome = (&result["stdout"], &result["stderr"], &result["exit_code"]);
            assert_eq!(outcome, (&json!(expected), &json!(""), &json!(0)), "{code}");
            check_files(interpreter, &result, number);
        }
    }
    seen
}

/// The files are the program's own, although others of the same name are stored at the same time.
fn check_files(interpreter: &Interpreter, result: &Value, number: usize) {
    let files = result["files"].as_object().unwrap();
    assert_eq!(files.len(), usize::from(number % 5 == 2), "{result}");
    for id in files.values() {
        let stored = interpreter.request("GET", &format!("/v1/files/{}", id.as_str().unwrap()), &[], b"");
        assert_eq!(String::from_utf8_lossy(&stored.body), number.to_string());
    }
}

/// What an idle interpreter holds: kinds of things, counted.
fn held(interpreter: &Interpreter) -> BTreeMap<&'static str, usize> {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", interpreter.id())).unwrap().count();
    let unfinished = |path: &std::path::PathBuf| path.file_name().is_some_and(|name| name.len() != 64);
    let unfinished = interpreter.stored_files().into_iter().filter(unfinished).count();
    let beside = std::fs::read_dir(interpreter.home.path()).unwrap().count();
    // The slots that wait are the interpreter's own; each is two processes and some descriptors.
    let processes = descendants(interpreter.id()).len();
    BTreeMap::from([
        ("descriptors", descriptors),
        ("processes", processes),
        ("unfinished files", unfinished),
        ("in its home", beside),
    ])
}

/// As many calls at once as there are clients, so that as many slots wait as after the load.
fn warm(interpreter: &Interpreter) {
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| interpreter.execute("import time; time.sleep(0.2)"));
        }
    });
    interpreter.is_unscathed();
}

#[test]
fn good_programs_are_right_beside_hostile_ones_and_nothing_is_left_of_any() {
    let seconds = std::env::var("PYTHON_INTERPRETER_MCP_TEST_LOAD_SECONDS").ok();
    let time = Duration::from_secs(seconds.map_or(10, |seconds| seconds.parse().expect("a number of seconds")));
    let interpreter = Interpreter::start_with(&[MEMORY]);
    warm(&interpreter);
    let before = held(&interpreter);
    let end = Instant::now() + time;
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let interpreter = &interpreter;
        let clients: Vec<_> =
            (0..CLIENTS).map(|number| scope.spawn(move || client(interpreter, number, end))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let hostile: usize = seen.iter().map(|seen| seen.hostile).sum();
    let mut times: Vec<f64> = seen.iter().flat_map(|seen| &seen.good).map(|time| time.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    let percentile = |part: usize| times[(times.len() - 1) * part / 100];
    let (p50, p99) = (percentile(50), percentile(99));
    eprintln!(
        "load: {} good programs beside {hostile} hostile ones in {time:?}: p50 {p50:.1} ms, p99 {p99:.1} ms, p99/p50 {:.1}",
        times.len(),
        p99 / p50
    );
    assert!(times.len() > CLIENTS && hostile >= CLIENTS);

    // What each client's last program left is taken away after its answer.
    warm(&interpreter);
    let mut after = held(&interpreter);
    let deadline = Instant::now() + Duration::from_secs(30);
    while after.iter().any(|(kind, count)| *count > before[kind]) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        after = held(&interpreter);
    }
    assert!(after.iter().all(|(kind, count)| *count <= before[kind]), "before: {before:?}, after: {after:?}");
    let id = interpreter.id();
    let everything = descendants(id);
    drop(interpreter);
    let gone = |id: &u32| !std::path::Path::new(&format!("/proc/{id}/exe")).exists();
    until("nothing outlives the interpreter", || everything.iter().all(gone));
}
