//! Runs one program by all peers in turn, so that the noise of a shared machine hits all: a row of the table.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::interface::{Client, Peer};
use super::program::{Effort, Program};
use crate::python::Bare;
use crate::rounds::Samples;

/// Before each turn, the same for all. Peers that make the next place ready while nobody calls get to it.
const PAUSE: Duration = Duration::from_millis(40);
/// Samples of each at least, however long they take.
const LEAST: usize = 3;
/// So many spawns make up for a turn of many samples.
const SPAWNS: usize = 10;

pub enum Cell {
    Measured(Samples),
    /// With the reason.
    Failed(String),
}

/// A peer in its row.
enum Runner {
    Running { clients: Vec<Box<dyn Client>>, times: Vec<Duration>, spent: Duration },
    Failed(String),
}

/// The spawns of bare Pythons, and what came of each peer; None for one that does not run.
pub fn measure(
    program: &Program,
    peers: &[Option<Box<dyn Peer>>],
    bare: &Bare,
    effort: Effort,
) -> Result<(Samples, Vec<Option<Cell>>)> {
    let mut runners: Vec<_> = peers.iter().map(|peer| Some(Runner::start(peer.as_deref()?, program))).collect();
    let rounds = effort.samples.div_ceil(program.clients * program.in_a_row);
    let spawns = (program.clients * program.in_a_row).min(SPAWNS);
    let mut baseline = Vec::new();
    let started = Instant::now();
    for round in 0..rounds {
        let of_row = started.elapsed().as_secs_f64() / effort.row.as_secs_f64();
        if of_row > 1.0 && round >= LEAST {
            break;
        }
        // Those that take long take turns all along the row, not only at its beginning.
        let due = effort.time.mul_f64(of_row.max(round as f64 / rounds as f64));
        let variants = runners.len() + 1;
        for position in 0..variants {
            // Forwards and backwards from each in turn, so that each comes after each as often.
            let step = if (round / variants).is_multiple_of(2) { position } else { variants - position };
            match runners.get_mut((round + step) % variants) {
                Some(Some(runner)) => runner.take_turn(program, due),
                Some(None) => {}
                None => {
                    thread::sleep(PAUSE);
                    baseline.extend((0..spawns).map(|_| bare.spawn()).collect::<Result<Vec<_>>>()?);
                }
            }
        }
    }
    Ok((Samples::new(baseline), runners.into_iter().map(|runner| Some(runner?.end())).collect()))
}

impl Runner {
    fn start(peer: &dyn Peer, program: &Program) -> Self {
        let ready = || {
            let mut places = vec![(); program.clients];
            let start = |(): &mut ()| {
                let mut client = peer.connect()?;
                client.run(program)?;
                Ok(client)
            };
            // More at once than there are processors would only wait longer, some past their deadline.
            let processors = thread::available_parallelism()?.get();
            let started = places.chunks_mut(processors).map(|some| together(some, start)).collect::<Result<Vec<_>>>();
            Ok(started?.into_iter().flatten().collect())
        };
        match peer.refuses(program.clients).map_or_else(ready, |reason| Err(anyhow!(reason))) {
            Ok(clients) => Runner::Running { clients, times: Vec::new(), spent: Duration::ZERO },
            Err(error) => Runner::Failed(format!("{error:#}")),
        }
    }

    fn take_turn(&mut self, program: &Program, due: Duration) {
        let Runner::Running { clients, times, spent } = self else { return };
        if times.len() >= LEAST && *spent > due {
            return;
        }
        thread::sleep(PAUSE);
        let started = Instant::now();
        let done = match clients.as_mut_slice() {
            [client] => (0..program.in_a_row).map(|_| client.run(program)).collect(),
            clients => at_once(clients, program),
        };
        *spent += started.elapsed();
        match done {
            Ok(done) => times.extend(done),
            Err(error) => *self = Runner::Failed(format!("{error:#}, after {} runs", times.len())),
        }
    }

    fn end(self) -> Cell {
        match self {
            Runner::Running { times, .. } => Cell::Measured(Samples::new(times)),
            Runner::Failed(reason) => Cell::Failed(reason),
        }
    }
}

/// Each client once, all from the same moment on.
fn at_once(clients: &mut [Box<dyn Client>], program: &Program) -> Result<Vec<Duration>> {
    let start = Barrier::new(clients.len());
    together(clients, |client| {
        start.wait();
        client.run(program)
    })
}

fn together<T: Send, Done: Send>(whom: &mut [T], work: impl Fn(&mut T) -> Result<Done> + Sync) -> Result<Vec<Done>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = whom.iter_mut().map(|one| scope.spawn(move || work(one))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?).collect()
    })
}
