//! The machine's processes as `/proc` shows them: who is whose child, and what each was started with.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

const SESSION: &str = "XDG_RUNTIME_DIR";

/// A process that has not ended. One that its parent has not yet waited for has ended.
#[derive(Debug)]
pub struct Process {
    pub id: u32,
    pub parent: u32,
    /// What it calls itself.
    pub name: String,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        // "id (name) state parent …", where the name may hold anything.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (before, after) = stat.rsplit_once(") ")?;
        let mut fields = after.split(' ');
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        Some(Self { id, parent, name: before.split_once('(')?.1.to_owned() })
    }

    /// The words of its command line; none where they cannot be read.
    pub fn arguments(&self) -> Vec<String> {
        let words = fs::read(format!("/proc/{}/cmdline", self.id)).unwrap_or_default();
        words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    /// Its runtime directory; `None` also where its environment cannot be read.
    fn session(&self) -> Option<PathBuf> {
        let environment = fs::read(format!("/proc/{}/environ", self.id)).unwrap_or_default();
        environment.split(|byte| *byte == 0).find_map(|variable| {
            let value = variable.strip_prefix(SESSION.as_bytes())?.strip_prefix(b"=")?;
            Some(PathBuf::from(OsStr::from_bytes(value)))
        })
    }
}

fn all() -> Vec<Process> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(Process::read).collect()
}

/// Those of this name, whoever they belong to: threads and programs may name themselves.
pub fn named(name: &str) -> Vec<u32> {
    all().into_iter().filter(|process| process.name == name).map(|process| process.id).collect()
}

pub fn children(parent: u32) -> Vec<u32> {
    all().into_iter().filter(|process| process.parent == parent).map(|process| process.id).collect()
}

/// The descendants of a process, each after its parent.
pub fn descendants(ancestor: u32) -> Vec<u32> {
    let processes = all();
    let children =
        |parent: u32| processes.iter().filter(move |process| process.parent == parent).map(|process| process.id);
    let mut found: Vec<u32> = children(ancestor).collect();
    let mut next = 0;
    while let Some(&process) = found.get(next) {
        found.extend(children(process));
        next += 1;
    }
    found
}

/// Those that have this runtime directory in their environment.
pub fn in_session(directory: &Path) -> Vec<Process> {
    all().into_iter().filter(|process| process.session().as_deref() == Some(directory)).collect()
}

/// The same with their descendants: what is in a slot has another environment.
pub fn of_session(directory: &Path) -> Vec<Process> {
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        all().into_iter().partition(|process| process.session().as_deref() == Some(directory));
    loop {
        let known: HashSet<u32> = ours.iter().map(|process| process.id).collect();
        let (children, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|process| known.contains(&process.parent));
        if children.is_empty() {
            return ours;
        }
        ours.extend(children);
        others = rest;
    }
}

/// Sends a signal to a process that may have ended.
pub fn signal(process: u32, signal: Signal) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(process, signal);
    }
}
