//! What grows with the number of executions: nothing should.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Map, json};

use crate::connection::Program;
use crate::interpreter::Interpreter;
use crate::processes::{self, IDLE};
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

type Counts = Vec<(&'static str, Result<i64>)>;

pub fn measure(interpreter: &Interpreter, rounds: Rounds, report: &mut Report) -> Result<()> {
    as_user(|| execute(interpreter, Rounds { most: WARM_UP, ..rounds }))?;
    thread::sleep(IDLE);
    let before = count(interpreter)?;
    let executions = as_user(|| execute(interpreter, rounds))?;
    thread::sleep(IDLE);
    let after = count(interpreter)?;

    let (mut grown, mut details, mut figures) = (0, vec![format!("{executions} executions")], Map::new());
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        match before.and_then(|before| Ok((before, after?))) {
            Ok((before, after)) => {
                let growth = after - before;
                let noise = if name == "memory_kb" { NOISE_KB } else { 0 };
                grown += u32::from(growth > noise);
                details.push(format!("{name} {growth:+}"));
                figures.insert(name.to_owned(), json!({ "before": before, "after": after }));
            }
            Err(error) => details.push(format!("{name} unknown ({error:#})")),
        }
    }
    details.push(format!("memory may grow by {NOISE_KB}"));
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

fn count(interpreter: &Interpreter) -> Result<Counts> {
    let tree = processes::tree(interpreter.id())?;
    let lasting = processes::lasting(&tree);
    let sum = |of: &dyn Fn(u32) -> Result<u64>| -> Result<i64> {
        Ok(lasting.iter().map(|id| of(*id)).sum::<Result<u64>>()?.cast_signed())
    };
    let descriptors = |id| Ok(entries(format!("/proc/{id}/fd"))?);
    let mounts = |id| Ok(fs::read_to_string(format!("/proc/{id}/mountinfo"))?.lines().count() as u64);
    Ok(vec![
        ("memory_kb", sum(&|id| processes::memory_kb(id, &["Pss:"]))),
        ("descriptors", sum(&descriptors)),
        ("mounts", sum(&mounts)),
        ("cgroups", cgroups(interpreter.id())),
        ("files", below(&interpreter.home, false)),
        ("processes", Ok(tree.len() as i64)),
    ])
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
