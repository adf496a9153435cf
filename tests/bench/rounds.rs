//! Times things in turn: each once a round, or a few times in a row, in changing order.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Before each turn, the same for all: what the one before has left to be done is not counted as the cost of the next.
const PAUSE: Duration = Duration::from_millis(10);
/// Rounds that there are at least, however long they take.
const LEAST: usize = 3;

/// How many rounds, and for how long at most.
#[derive(Clone, Copy)]
pub struct Rounds {
    pub most: usize,
    pub time: Duration,
}

/// Times of one thing, sorted.
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Samples(times)
    }

    /// The time in milliseconds within which this share of the samples is.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).map_or(f64::NAN, |time| 1000.0 * time.as_secs_f64())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Each variant does its work and returns how long the part that counts took.
pub fn interleave<const VARIANTS: usize>(
    rounds: Rounds,
    variants: [&mut dyn FnMut() -> Result<Duration>; VARIANTS],
) -> Result<[Samples; VARIANTS]> {
    interleave_turns(rounds, 1, variants)
}

/// The same, with so many samples in a row when it is a variant's turn.
pub fn interleave_turns<const VARIANTS: usize>(
    rounds: Rounds,
    turn: usize,
    variants: [&mut dyn FnMut() -> Result<Duration>; VARIANTS],
) -> Result<[Samples; VARIANTS]> {
    let mut times = [const { Vec::new() }; VARIANTS];
    let started = Instant::now();
    for round in 0..rounds.most {
        if round >= LEAST && started.elapsed() > rounds.time {
            break;
        }
        for position in 0..VARIANTS {
            // Forwards and backwards from each in turn, so that each comes after each as often.
            let step = if (round / VARIANTS).is_multiple_of(2) { position } else { VARIANTS - position };
            let variant = (round + step) % VARIANTS;
            thread::sleep(PAUSE);
            for _ in 0..turn {
                times[variant].push(variants[variant]()?);
            }
        }
    }
    Ok(times.map(Samples::new))
}
