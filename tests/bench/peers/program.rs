//! The programs that all peers run, and what must come of each.

use std::time::Duration;

use anyhow::{Result, ensure};

/// Characters of a long output that an answer has to show at least: some peers cut it.
const SHOWN_OF_MUCH: usize = 10_000;
/// Of the reason for a failure.
const REASON_CHARS: usize = 100;

pub struct Program {
    pub name: &'static str,
    pub source: &'static str,
    outcome: Outcome,
    /// Clients that run it at the same moment.
    pub clients: usize,
    /// How often in a row without a pause.
    pub in_a_row: usize,
    /// That a full run makes.
    pub full: Effort,
}

/// How much of a program's row, at most.
#[derive(Clone, Copy)]
pub struct Effort {
    /// For each peer.
    pub samples: usize,
    /// For each peer.
    pub time: Duration,
    /// For all together.
    pub row: Duration,
}

enum Outcome {
    /// It says this.
    Says(&'static str),
    /// It says this often.
    SaysMuch(char),
    /// It ends with this exception.
    Raises(&'static str),
}

const IMPORTS: &str = "import collections, csv, dataclasses, datetime, decimal, json, pathlib, random, re, statistics";
const MUCH: &str = "for _ in range(1024): print('x' * 1023)";
const RAISE: &str = "def divide(a, b):\n    return a / b\n\ndivide(1, 0)";
const GROUP: &str = "\
import numpy
import pandas
numbers = numpy.arange(100_000)
frame = pandas.DataFrame({'group': numbers % 100, 'value': numbers})
print(int(frame.groupby('group')['value'].sum().max()))
";
const PLOT: &str = "\
import os
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
plt.plot([1, 4, 9, 16])
plt.savefig('plot.png')
print('saved', os.path.getsize('plot.png') > 1000)
";

const MOST: Effort = Effort { samples: 1000, time: Duration::from_secs(40), row: Duration::from_secs(600) };
const USUAL: Effort = Effort { samples: 300, time: Duration::from_secs(25), row: Duration::from_secs(240) };

pub const PROGRAMS: [Program; 8] = [
    Program { full: MOST, ..Program::new("print(1)", "print(1)", Outcome::Says("1")) },
    Program { full: MOST, in_a_row: 10, ..Program::new("print(1), ten in a row", "print(1)", Outcome::Says("1")) },
    Program::new("ten imports", IMPORTS, Outcome::Says("")),
    Program::new("1 MB of output", MUCH, Outcome::SaysMuch('x')),
    Program::new("an exception", RAISE, Outcome::Raises("ZeroDivisionError")),
    Program::new("pandas groupby", GROUP, Outcome::Says("50049000")),
    Program::new("a plot saved", PLOT, Outcome::Says("saved True")),
    Program {
        full: Effort { samples: 20 * 64, ..USUAL },
        clients: 64,
        ..Program::new("print(1), 64 clients at once", "print(1)", Outcome::Says("1"))
    },
];

impl Program {
    const fn new(name: &'static str, source: &'static str, outcome: Outcome) -> Self {
        Program { name, source, outcome, clients: 1, in_a_row: 1, full: USUAL }
    }

    /// The error is the reason in short.
    pub fn check(&self, answer: &Answer) -> Result<()> {
        let is_right = match self.outcome {
            Outcome::Says(text) => !answer.failed && answer.said.contains(text),
            Outcome::SaysMuch(character) => {
                !answer.failed && answer.said.matches(character).take(SHOWN_OF_MUCH).count() == SHOWN_OF_MUCH
            }
            Outcome::Raises(exception) => answer.failed && answer.said.contains(exception),
        };
        ensure!(is_right, "{}", answer.reason());
        Ok(())
    }
}

/// What a peer answers.
pub struct Answer {
    /// Everything that a reader gets.
    pub said: String,
    /// The peer says that the program failed.
    pub failed: bool,
}

impl Answer {
    /// The last line, where Python puts the error.
    fn reason(&self) -> String {
        // Some answer in JSON inside of JSON.
        let said = self.said.replace("\\n", "\n");
        let lines = said.lines().map(str::trim).filter(|line| line.contains(char::is_alphanumeric));
        let line = lines.clone().rfind(|line| line.contains("Error")).or(lines.clone().next_back());
        line.unwrap_or("it says nothing").chars().take(REASON_CHARS).collect()
    }
}
