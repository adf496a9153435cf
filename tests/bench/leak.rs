//! What grows with the number of executions: nothing should. Measured with an interpreter of its own, which keeps the same number of
//! children waiting whatever comes.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Map, json};

use crate::connection::Program;
use crate::interpreter::Interpreter;
use crate::processes::{self, Process};
use crate::report::{Report, at_most};
use crate::rounds::Rounds;
use crate::user::as_user;

/// Executions before the first look: whatever is made once is made then.
const WARM_UP: usize = 200;
const CONNECTIONS: usize = 2;
/// One execution of so many starts a Python of its own.
const COLD: usize = 50;
/// What memory may differ by without anything being lost.
const NOISE_KB: i64 = 1024;
/// Networks that may wait for a slot, each with a descriptor.
const SPARE_NETWORKS: i64 = 16;
/// With so many programs at the same time, as many children wait, however many calls came at once and however long ago.
const CONCURRENCY: &str = "2";
/// The interpreter, its spawner's two, the zygote, and two in each of two slots.
const PROCESSES: usize = 8;
/// Longest wait for that to be all there is: then what is left over is counted with the rest.
const REST: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

type Counts = Vec<(&'static str, Result<i64>)>;

pub fn measure(program: &Path, rounds: Rounds, report: &mut Report) -> Result<()> {
    let settings = [("PYTHON_INTERPRETER_MCP_CONCURRENCY", CONCURRENCY.as_ref())];
    let interpreter = as_user(|| Interpreter::start(program, "leak", &settings))?;
    as_user(|| execute(&interpreter, Rounds { most: WARM_UP, ..rounds }))?;
    let before = count_at_rest(&interpreter)?;
    let executions = as_user(|| execute(&interpreter, rounds))?;
    let after = count_at_rest(&interpreter)?;

    let (mut grown, mut details, mut figures) = (0, vec![format!("{executions} executions")], Map::new());
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        match before.and_then(|before| Ok((before, after?))) {
            Ok((before, after)) => {
                let growth = after - before;
                let noise = match name {
                    "memory_kb" => NOISE_KB,
                    "descriptors" => SPARE_NETWORKS,
                    _ => 0,
                };
                grown += u32::from(growth > noise);
                details.push(format!("{name} {growth:+}"));
                figures.insert(name.to_owned(), json!({ "before": before, "after": after }));
            }
            Err(error) => details.push(format!("{name} unknown ({error:#})")),
        }
    }
    details.push(format!(
        "memory may grow by {NOISE_KB}, descriptors by {SPARE_NETWORKS} (networks that wait for a slot)"
    ));
    let figures = json!({ "executions": executions, "counts": figures });
    report.add("exec_leak", Some(grown.into()), at_most(0.0, 0.0), details.join(", "), figures);
    Ok(())
}

/// How many there were: fewer than asked for where time is up.
fn execute(interpreter: &Interpreter, rounds: Rounds) -> Result<usize> {
    let code = "open('made.txt', 'w').write('content')\nprint(6 * 7)";
    let warm = Program::new(code, "42\n").with_file("made.txt");
    let cold = Program::new(code, "42\n").with_file("made.txt").with_environment(&json!({ "PYTHONHASHSEED": "1" }));
    let started = Instant::now();
    let client = || -> Result<usize> {
        let mut connection = interpreter.connect()?;
        let mut executed = 0;
        while executed < rounds.most / CONNECTIONS && started.elapsed() < rounds.time {
            executed += 1;
            connection.execute(if executed % COLD == 0 { &cold } else { &warm })?;
        }
        Ok(executed)
    };
    thread::scope(|scope| {
        let clients = [(); CONNECTIONS].map(|()| scope.spawn(client));
        clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?).sum()
    })
}

/// Counts when as many children wait as always do, none is on its way or another Python about to take over, and a second count
/// finds the same.
fn count_at_rest(interpreter: &Interpreter) -> Result<Counts> {
    let deadline = Instant::now() + REST;
    let mut last = Vec::new();
    loop {
        let tree = processes::tree(interpreter.id())?;
        let counts = count(interpreter, &tree);
        let known: Vec<_> = counts.iter().map(|(_, count)| count.as_ref().ok().copied()).collect();
        if (tree.len() == PROCESSES && known == last) || Instant::now() > deadline {
            return Ok(counts);
        }
        last = known;
        thread::sleep(PAUSE);
    }
}

fn count(interpreter: &Interpreter, tree: &[Process]) -> Counts {
    let lasting = processes::lasting(tree);
    let sum = |of: &dyn Fn(u32) -> Result<u64>| -> Result<i64> {
        Ok(lasting.iter().map(|id| of(*id)).sum::<Result<u64>>()?.cast_signed())
    };
    let descriptors = |id| Ok(entries(format!("/proc/{id}/fd"))?);
    let mounts = |id| Ok(fs::read_to_string(format!("/proc/{id}/mountinfo"))?.lines().count() as u64);
    vec![
        ("memory_kb", sum(&processes::own_memory_kb)),
        ("descriptors", sum(&descriptors)),
        ("mounts", sum(&mounts)),
        ("cgroups", cgroups(interpreter.id())),
        ("files", below(&interpreter.home, false)),
        ("processes", Ok(tree.len() as i64)),
    ]
}

/// Those below the interpreter's own. The hierarchy's root has those of others below it.
fn cgroups(id: u32) -> Result<i64> {
    let own = fs::read_to_string(format!("/proc/{id}/cgroup"))?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).filter(|path| !path.is_empty());
    below(&Path::new("/sys/fs/cgroup").join(own.context("it has none of its own")?), true)
}

/// The entries below a directory, or only the directories.
fn below(directory: &Path, directories: bool) -> Result<i64> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        count += i64::from(is_directory || !directories);
        if is_directory {
            count += below(&entry.path(), directories)?;
        }
    }
    Ok(count)
}

fn entries(directory: String) -> std::io::Result<u64> {
    Ok(fs::read_dir(directory)?.count() as u64)
}
