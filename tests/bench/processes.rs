//! The interpreter's processes as `/proc` shows them: which keep children waiting for programs, and what they take.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::report::{Report, at_most};

/// After this nothing is on its way any more.
const IDLE: Duration = Duration::from_secs(1);

/// A process that lives.
#[derive(Debug)]
pub struct Process {
    pub id: u32,
    parent: u32,
    /// It is a Python, not the interpreter around it.
    python: bool,
    /// How many pid namespaces it is in.
    depth: usize,
}

/// Private memory of a child that waits for a program.
pub fn measure_idle(root: u32, report: &mut Report) -> Result<()> {
    thread::sleep(IDLE);
    let waiting = waiting(&tree(root)?);
    let read = |id: &u32| memory_kb(*id, &["Private_Clean:", "Private_Dirty:"]);
    let (detail, mut sizes) = match waiting.iter().map(read).collect::<Result<Vec<_>>>() {
        Ok(sizes) if sizes.is_empty() => ("none found".to_owned(), sizes),
        Ok(sizes) => (format!("median of {} waiting children", sizes.len()), sizes),
        Err(error) => (format!("{} waiting children, which only root can read: {error:#}", waiting.len()), Vec::new()),
    };
    sizes.sort_unstable();
    let median = sizes.get(sizes.len() / 2).map(|size| *size as f64);
    report.add("slot_idle_kb", median, at_most(1200.0, 1024.0), detail, json!({ "sizes_kb": sizes }));
    Ok(())
}

/// The living processes from `root` on down.
pub fn tree(root: u32) -> Result<Vec<Process>> {
    let ids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that has just ended cannot be read.
    let mut rest: Vec<_> = ids.filter_map(read).collect();
    let mut found: Vec<_> = rest.extract_if(.., |process| process.id == root).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.id) {
        found.extend(rest.extract_if(.., |process| process.parent == parent));
        next += 1;
    }
    Ok(found)
}

/// The children that wait for programs: the Pythons whose parent, the zygote, is one too.
pub fn waiting(tree: &[Process]) -> Vec<u32> {
    let is_python = |id| tree.iter().any(|process| process.id == id && process.python);
    tree.iter().filter(|process| process.python && is_python(process.parent)).map(|process| process.id).collect()
}

/// The processes that are there from one execution to the next: those outside of slots, where the waiting children are.
pub fn lasting(tree: &[Process]) -> Vec<u32> {
    let waiting = waiting(tree);
    let in_slots = tree.iter().filter(|process| waiting.contains(&process.id)).map(|process| process.depth).min();
    let outside = tree.iter().filter(|process| in_slots.is_none_or(|depth| process.depth < depth));
    outside.map(|process| process.id).collect()
}

/// The sum of some lines of a process's account of its memory.
pub fn memory_kb(id: u32, lines: &[&str]) -> Result<u64> {
    let path = format!("/proc/{id}/smaps_rollup");
    let account = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let sizes = account.lines().filter_map(|line| {
        let (name, size) = line.split_once(char::is_whitespace)?;
        lines.contains(&name).then(|| size.trim().trim_end_matches(" kB").parse::<u64>().ok())?
    });
    Ok(sizes.sum())
}

/// What a process's own data takes, counted whole, with whomever it is shared.
pub fn own_memory_kb(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let size = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
    size.context("the kernel does not tell of its memory")
}

fn read(id: u32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim()));
    if field("State:")?.starts_with(['Z', 'X']) {
        return None;
    }
    // The name is one that the process can choose, the program only root may see.
    let program = fs::read_link(format!("/proc/{id}/exe")).ok();
    let program = program.as_ref().and_then(|path| path.file_name()?.to_str()).or(field("Name:"))?;
    let version = program.strip_prefix("python");
    let python = version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'));
    Some(Process {
        id,
        parent: field("PPid:")?.parse().ok()?,
        python,
        depth: field("NSpid:")?.split_whitespace().count(),
    })
}
