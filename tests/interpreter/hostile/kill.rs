//! Killing parts of the interpreter, or all of it, while it works: no caller gets a wrong answer or none, and afterwards it
//! works as before.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::interpreter::{Answer, Interpreter, try_post};
use crate::support::processes::{descendants, signal};
use crate::support::until;
use rustix::process::Signal;
use serde_json::{Value, json};

const CALLERS: usize = 4;
/// The longest that any call may take: it works for a fraction of a second.
const DEADLINE: Duration = Duration::from_secs(60);

fn kill(process: u32) {
    signal(process, Signal::KILL);
}

/// A sequence without a pattern, the same in every run.
struct Chance(u64);

const SEED: &str = "PYTHON_INTERPRETER_MCP_TEST_SEED";

impl Chance {
    /// Another one each time, which is shown with a failed test's output. `PYTHON_INTERPRETER_MCP_TEST_SEED` repeats one.
    fn new() -> Self {
        let chosen = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
        let seed = chosen.unwrap_or_else(|| std::process::id().into());
        eprintln!("{SEED}={seed}");
        Chance(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// What came of calls, counted.
#[derive(Default)]
struct Counts {
    right: AtomicUsize,
    told: AtomicUsize,
    dropped: AtomicUsize,
}

/// Calls until `stop`, and judges every answer.
fn call_until(stop: &AtomicBool, address: &str, caller: usize, counts: &Counts) {
    for number in (caller..).step_by(CALLERS) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let code =
            format!("import time\ntime.sleep(0.02)\nopen('made', 'w').write('{number}')\nprint({number} * {number})");
        let started = Instant::now();
        let answer = try_post(address, &json!({ "source_code": code, "timeout_seconds": 20 }));
        assert!(started.elapsed() < DEADLINE, "call {number} took {:?}", started.elapsed());
        match answer {
            Ok(answer) => judge(&answer, number, counts),
            // The interpreter itself is gone: its callers see their connections end.
            Err(_) => {
                counts.dropped.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn judge(answer: &Answer, number: usize, counts: &Counts) {
    if answer.status >= 500 {
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.len() > 10, "the error says what happened: {answer:?}");
        counts.told.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let result = answer.json();
    assert_eq!(answer.status, 200, "{result}");
    let output = result["stdout"].as_str().unwrap();
    if result["exit_code"] == 137 {
        // What it had printed is kept, and is nobody else's.
        assert!(output.is_empty() || output == format!("{}\n", number * number), "{number}: {result}");
        let says_so = |line: &str| line.starts_with("Killed: ");
        assert!(result["stderr"].as_str().unwrap().lines().any(says_so), "{number}: {result}");
        counts.told.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let id = &result["files"]["/workspace/made"];
    assert_eq!((output, &result["exit_code"]), (format!("{}\n", number * number).as_str(), &json!(0)), "{result}");
    assert!(result["stderr"] == "" && id.is_string(), "{result}");
    counts.right.fetch_add(1, Ordering::Relaxed);
}

/// Has four callers call while `disturb` acts, and returns what came of their calls.
fn under_load(interpreter: &Interpreter, disturb: impl FnOnce(&Counts)) -> Counts {
    let (stop, counts) = (AtomicBool::new(false), Counts::default());
    let address = interpreter.address().to_owned();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (stop, counts, address) = (&stop, &counts, &address);
                scope.spawn(move || call_until(stop, address, caller, counts))
            })
            .collect();
        until("calls succeed", || {
            counts.right.load(Ordering::Relaxed) >= CALLERS || callers.iter().any(|caller| caller.is_finished())
        });
        disturb(&counts);
        stop.store(true, Ordering::Relaxed);
    });
    counts
}

/// Calls succeed, and after as many at once as there can be places, none of what was killed is left to be found.
fn works_again(interpreter: &Interpreter) {
    let answers = || interpreter.post(&json!({ "source_code": "import time; time.sleep(0.05); print(6 * 7)" }));
    let is_right = |answer: Answer| answer.status == 200 && answer.json()["stdout"] == "42\n";
    until("all of many calls succeed", || {
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..12).map(|_| scope.spawn(|| is_right(answers()))).collect();
            callers.into_iter().all(|caller| caller.join().unwrap())
        })
    });
    interpreter.is_unscathed();
}

#[test]
fn killing_any_process_below_the_interpreter_gives_no_wrong_answer() {
    let interpreter = Interpreter::start();
    let mut chance = Chance::new();
    let counts = under_load(&interpreter, |_| {
        for _ in 0..60 {
            let below = descendants(interpreter.id());
            if !below.is_empty() {
                kill(below[chance.below(below.len())]);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    });
    assert_eq!(counts.dropped.into_inner(), 0, "the interpreter itself goes on, and answers every call");
    works_again(&interpreter);
}

#[test]
fn killing_each_of_its_processes_in_turn_is_survived() {
    let interpreter = Interpreter::start();
    interpreter.works();
    // From the eldest, which takes the others along, to the youngest.
    for index in 0..8 {
        let below = descendants(interpreter.id());
        let Some(process) = below.get(index).or(below.last()) else { continue };
        kill(*process);
        works_again(&interpreter);
    }
}

#[test]
fn killing_all_of_its_processes_at_once_is_survived() {
    let interpreter = Interpreter::start();
    let counts = under_load(&interpreter, |_| {
        for _ in 0..10 {
            descendants(interpreter.id()).into_iter().rev().for_each(kill);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(counts.dropped.into_inner(), 0, "the interpreter itself goes on, and answers every call");
    works_again(&interpreter);
}

#[test]
fn killing_the_interpreter_under_load_ends_all_of_it_and_a_new_one_works() {
    let mut interpreter = Interpreter::start();
    for _ in 0..3 {
        let started = AtomicUsize::new(0);
        let counts = under_load(&interpreter, |counts| {
            let before = descendants(interpreter.id());
            started.store(before.len(), Ordering::Relaxed);
            kill(interpreter.id());
            let gone = |id: &u32| !Path::new(&format!("/proc/{id}/exe")).exists();
            until("everything that it started is gone", || before.iter().all(gone));
            until("callers notice", || counts.dropped.load(Ordering::Relaxed) >= CALLERS);
        });
        assert!(counts.right.into_inner() >= CALLERS && started.into_inner() > 0);
        interpreter.restart();
        works_again(&interpreter);
    }
}

/// The stored files whose names are ids, by what their content's id is.
fn wrong_ids(interpreter: &Interpreter) -> BTreeMap<String, String> {
    let is_id = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let files =
        interpreter.stored_files().into_iter().filter(|path| is_id(path.file_name().unwrap().to_str().unwrap()));
    let output = Command::new("sha256sum").args(files).stdin(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once("  "));
    pairs
        .map(|(sum, path)| (Path::new(path).file_name().unwrap().to_str().unwrap().to_owned(), sum.to_owned()))
        .filter(|(name, sum)| name != sum)
        .collect()
}

#[test]
fn a_kill_while_files_are_stored_leaves_whole_files_only() {
    let mut interpreter = Interpreter::start();
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    let mut chance = Chance::new();
    for round in 0..8 {
        interpreter.works();
        let address = interpreter.address().to_owned();
        std::thread::scope(|scope| {
            let store = |caller: usize| -> Vec<(String, usize)> {
                let mut stored = Vec::new();
                for number in 0.. {
                    let seed = (round * CALLERS + caller) * 1000 + number;
                    let code = format!(
                        "for part in range(20): open(str(part), 'wb').write(b'%d %d ' % ({seed}, part) * 40_000)"
                    );
                    let Ok(answer) = try_post(&address, &json!({ "source_code": code })) else { return stored };
                    if answer.status == 200
                        && let Value::Object(files) = &answer.json()["files"]
                    {
                        stored.extend(files.values().map(|id| (id.as_str().unwrap().to_owned(), seed)));
                    }
                }
                stored
            };
            let callers: Vec<_> = (0..CALLERS).map(|caller| scope.spawn(move || store(caller))).collect();
            let before = interpreter.stored_files().len();
            until("files are being stored", || interpreter.stored_files().len() > before + 20);
            std::thread::sleep(Duration::from_millis(chance.below(50) as u64));
            kill(interpreter.id());
            for caller in callers {
                kept.extend(caller.join().unwrap());
            }
        });
        assert_eq!(wrong_ids(&interpreter), BTreeMap::new(), "every file is what its name says");
        interpreter.restart();
    }
    // What was answered is there, and what was not finished is no id.
    for (id, seed) in kept.iter().step_by(kept.len() / 50 + 1) {
        let stored = interpreter.request("GET", &format!("/v1/files/{id}"), &[], b"");
        assert!(stored.status == 200 && stored.body.starts_with(format!("{seed} ").as_bytes()), "{id}");
    }
    let unfinished: Vec<_> =
        interpreter.stored_files().into_iter().filter(|path| path.file_name().unwrap().len() != 64).collect();
    for path in unfinished {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_ne!(interpreter.request("GET", &format!("/v1/files/{name}"), &[], b"").status, 200, "{name}");
    }
    interpreter.is_unscathed();
}
