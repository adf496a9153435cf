//! Runs the same programs by this project and by others that run Python for a client, in one interleaved run. `--peers` asks for it.

mod interface;
mod program;

mod driver;
mod fresh_process;
mod lines;
mod mcp_server;
mod software;

mod bubblewrap_and_plain;
mod fastmcp;
mod gateway;
mod kern;
mod monty;
mod ours;
mod run_python;

mod plots;
mod rows;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::python::Bare;
use crate::user::as_user;
use crate::venv;
use interface::{Candidate, Peer, Place};
use program::{Effort, PROGRAMS, Program};
use table::{Heading, Row, Table};

/// Ours first; then by how much they do.
const CANDIDATES: [Candidate; 10] = [
    ours::DEFAULT,
    ours::PRELOADING,
    kern::KERN,
    fastmcp::FASTMCP,
    bubblewrap_and_plain::BUBBLEWRAP,
    monty::MONTY,
    run_python::RUN_PYTHON,
    gateway::KERNEL_A_CALL,
    gateway::SHARED_KERNEL,
    bubblewrap_and_plain::PLAIN,
];

/// What is asked for.
pub struct Request {
    pub quick: bool,
    pub json: Option<PathBuf>,
    /// Where plots go.
    pub svg: Option<PathBuf>,
}

pub fn measure(program: &Path, request: &Request) -> Result<()> {
    let python = venv::python().unwrap_or_else(|reason| {
        eprintln!("no environment with packages: {reason}");
        software::BASE.into()
    });
    let place = Place { program: program.to_owned(), python };
    // As whom the benchmark was started: the user may not write there.
    let installed: Vec<_> = CANDIDATES.iter().map(|candidate| (candidate.install)(&place)).collect();
    let table = as_user(|| {
        let mut peers = Vec::new();
        let mut headings = Vec::new();
        for (candidate, starter) in CANDIDATES.iter().zip(installed) {
            eprintln!("starting {} …", candidate.name);
            let started = starter.and_then(|start| start(&place));
            let absent = started.as_ref().err().map(|error| format!("{error:#}"));
            let Candidate { name, isolation, is_cpython, .. } = *candidate;
            headings.push(Heading { name, isolation, is_cpython, absent });
            peers.push(started.ok());
        }
        let rows = PROGRAMS.iter().map(|program| row(program, &peers, request.quick)).collect::<Result<_>>()?;
        Ok(Table { headings, rows })
    })?;
    table.print();
    let json = table.json(request.quick);
    if let Some(path) = &request.json {
        let text = serde_json::to_string_pretty(&json)? + "\n";
        fs::write(path, text).with_context(|| format!("{path:?} cannot be written"))?;
    }
    request.svg.as_ref().map_or(Ok(()), |directory| plots::draw(&json, &place, directory))
}

fn row(program: &Program, peers: &[Option<Box<dyn Peer>>], quick: bool) -> Result<Row> {
    eprintln!("{} …", program.name);
    let bare = Bare::new(Path::new(software::BASE));
    let (baseline, cells) = rows::measure(program, peers, &bare, effort(program, quick))?;
    Ok(Row { program: program.name, source: program.source, baseline, cells })
}

fn effort(program: &Program, quick: bool) -> Effort {
    let quick_one =
        |samples, seconds| Effort { samples, time: Duration::from_secs(seconds), row: Duration::from_secs(60) };
    match (quick, program.clients) {
        (true, 1) => quick_one(20, 2),
        (true, clients) => quick_one(2 * clients, 4),
        (false, _) => program.full,
    }
}
