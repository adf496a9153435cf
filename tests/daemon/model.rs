//! One rule, whatever happens in whatever order: each live request of a client has one answer, a cancelled one has none, and no program is
//! executed twice. A model draws what happens; the real shim and daemon, and a service that notes what it is sent, go through it.
//!
//! PYTHON_INTERPRETER_MCP_MODEL_SEED repeats a run, PYTHON_INTERPRETER_MCP_MODEL_SECONDS makes it go on for so long.

mod real;

use std::env;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest as _};
use real::Real;

/// In the gate; with a seed of its own each time.
const CASES: u32 = 16;
const MAX_STEPS: usize = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    Legacy,
    Modern,
}

#[derive(Debug, Clone)]
pub enum Step {
    Ping,
    /// A program that ends at once.
    Call,
    /// A call behind a ping, so many bytes long both ways, of which the client writes `cut` bytes first.
    Large {
        bytes: usize,
        cut: usize,
    },
    /// One that ends when it is released.
    Hold,
    /// Gives up the held call with this place among them.
    Cancel(usize),
    Release,
    Kill,
    /// The daemon is asked to stop while calls may run.
    Terminate,
    Reload,
    /// Another client comes where there is no place, and leaves.
    Crowd,
}

/// What the model knows.
#[derive(Debug, Clone)]
pub struct Model {
    pub era: Era,
    pub held: usize,
    /// Whether a daemon runs and the client has its session there.
    is_up: bool,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        prop_oneof![Just(Era::Legacy), Just(Era::Modern)].prop_map(|era| Self { era, held: 0, is_up: true }).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let large = (1..200_000_usize, 0..200_000_usize).prop_map(|(bytes, cut)| Step::Large { bytes, cut });
        let mut steps = vec![
            (3, large.boxed()),
            (3, Just(Step::Ping).boxed()),
            (3, Just(Step::Call).boxed()),
            (3, Just(Step::Hold).boxed()),
        ];
        if state.held > 0 {
            steps.push((3, (0..state.held).prop_map(Step::Cancel).boxed()));
            steps.push((1, Just(Step::Release).boxed()));
        }
        if state.is_up {
            for step in [Step::Kill, Step::Terminate, Step::Reload, Step::Crowd] {
                steps.push((1, Just(step).boxed()));
            }
        }
        Union::new_weighted(steps).boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match step {
            Step::Cancel(place) => *place < state.held,
            Step::Release => state.held > 0,
            Step::Kill | Step::Terminate | Step::Reload | Step::Crowd => state.is_up,
            Step::Ping | Step::Call | Step::Large { .. } => true,
            Step::Hold => state.held < 8,
        }
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match step {
            Step::Ping | Step::Call | Step::Large { .. } => state.is_up = true,
            Step::Hold => (state.is_up, state.held) = (true, state.held + 1),
            Step::Cancel(_) => state.held -= 1,
            Step::Release => state.held = 0,
            Step::Kill | Step::Terminate => (state.is_up, state.held) = (false, 0),
            Step::Reload | Step::Crowd => {}
        }
        state
    }
}

fn run(seed: u64, cases: u32) {
    println!("PYTHON_INTERPRETER_MCP_MODEL_SEED={seed}");
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config.clone());
    let steps = Model::sequential_strategy(1..MAX_STEPS);
    let ran = runner.run(&steps, |(model, steps, seen)| {
        Real::test_sequential(config.clone(), model, steps, seen);
        Ok(())
    });
    if let Err(error) = ran {
        panic!("PYTHON_INTERPRETER_MCP_MODEL_SEED={seed}: {error}");
    }
}

#[test]
fn each_live_request_has_one_answer_and_nothing_is_executed_twice() {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let first = number("PYTHON_INTERPRETER_MCP_MODEL_SEED").unwrap_or(now);
    let until = Instant::now() + Duration::from_secs(number("PYTHON_INTERPRETER_MCP_MODEL_SECONDS").unwrap_or(0));
    let mut seed = first;
    loop {
        run(seed, CASES);
        if Instant::now() >= until {
            return;
        }
        seed += 1;
    }
}
