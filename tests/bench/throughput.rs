//! Executions a second, as many at once as is best, against bare Pythons a second on all processors, in alternating slices of
//! time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::connection::Program;
use crate::interpreter::Interpreter;
use crate::python::Bare;

/// Connections at once that are tried.
const CONNECTIONS: [usize; 3] = [2, 4, 8];
/// Lets what one slice has left to be done not take time from the next.
const PAUSE: Duration = Duration::from_millis(50);

pub struct Throughput {
    /// Per second.
    pub executions: f64,
    pub connections: usize,
    /// Per second.
    pub spawns: f64,
}

/// What does one thing over and over.
pub type Worker<'a> = Box<dyn FnMut() -> Result<Duration> + Send + 'a>;

pub fn measure(
    interpreter: &Interpreter,
    program: &Program,
    bare: &Bare,
    slices: usize,
    slice: Duration,
) -> Result<Throughput> {
    let clients = |connections: usize| -> Result<Vec<Worker>> {
        let client = |_| {
            let mut connection = interpreter.connect()?;
            Ok(Box::new(move || connection.execute(program)) as Worker)
        };
        (0..connections).map(client).collect()
    };
    let mut best = (0.0, CONNECTIONS[0]);
    for connections in CONNECTIONS {
        let (count, time) = work(&mut clients(connections)?, slice)?;
        let rate = count as f64 / time.as_secs_f64();
        if rate > best.0 {
            best = (rate, connections);
        }
    }

    let [executions, spawns] = alternate(&mut clients(best.1)?, bare, slices, slice)?;
    Ok(Throughput { executions, connections: best.1, spawns })
}

/// How often a second the clients and the spawners of bare Pythons, one a processor, do what they do, in turn.
pub fn alternate<'a>(clients: &mut [Worker<'a>], bare: &'a Bare, slices: usize, slice: Duration) -> Result<[f64; 2]> {
    let processors = thread::available_parallelism()?.get();
    let mut spawners: Vec<Worker> = (0..processors).map(|_| Box::new(|| bare.spawn()) as Worker).collect();
    let (mut executions, mut spawns) = ((0, Duration::ZERO), (0, Duration::ZERO));
    for _ in 0..slices {
        for (workers, total) in [(&mut *clients, &mut executions), (&mut spawners[..], &mut spawns)] {
            let (count, time) = work(workers, slice)?;
            *total = (total.0 + count, total.1 + time);
        }
    }
    let rate = |(count, time): (usize, Duration)| count as f64 / time.as_secs_f64();
    Ok([rate(executions), rate(spawns)])
}

/// Has all work for a slice of time, each over and over. How often they did altogether, and in what time.
fn work(workers: &mut [Worker], slice: Duration) -> Result<(usize, Duration)> {
    thread::sleep(PAUSE);
    let started = Instant::now();
    let count = thread::scope(|scope| -> Result<usize> {
        let work = |worker: &mut Worker| {
            let mut count = 0;
            while started.elapsed() < slice {
                worker()?;
                count += 1;
            }
            Ok(count)
        };
        let threads: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(move || work(worker))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a worker panicked"))?).sum()
    })?;
    Ok((count, started.elapsed()))
}
