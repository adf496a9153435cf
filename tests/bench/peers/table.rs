//! What was measured, as text and as JSON.

use serde_json::{Map, Value, json};

use super::interface::Isolation;
use super::rows::Cell;
use crate::rounds::Samples;

/// Fewer say nothing about one of a hundred.
const LEAST_FOR_P99: usize = 100;

/// A peer's name and nature, and why it is absent if it is.
pub struct Heading {
    pub name: &'static str,
    pub isolation: Isolation,
    pub is_cpython: bool,
    pub absent: Option<String>,
}

pub struct Row {
    pub program: &'static str,
    pub source: &'static str,
    pub baseline: Samples,
    pub cells: Vec<Option<Cell>>,
}

pub struct Table {
    pub headings: Vec<Heading>,
    pub rows: Vec<Row>,
}

/// In multiples of the median spawn of a bare Python in the same row.
struct Ratios {
    p50: f64,
    p99: Option<f64>,
    count: usize,
}

impl Row {
    fn ratios(&self, samples: &Samples) -> Ratios {
        let unit = self.baseline.quantile(0.50);
        let count = samples.count();
        let p99 = (count >= LEAST_FOR_P99).then(|| samples.quantile(0.99) / unit);
        Ratios { p50: samples.quantile(0.50) / unit, p99, count }
    }

    /// The fastest of those wanted.
    fn first<'a>(&self, headings: &'a [Heading], is_wanted: impl Fn(&Heading) -> bool) -> Option<(&'a Heading, f64)> {
        let measured = headings.iter().zip(&self.cells).filter_map(|(heading, cell)| match cell {
            Some(Cell::Measured(samples)) if is_wanted(heading) => Some((heading, self.ratios(samples).p50)),
            _ => None,
        });
        measured.min_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// Who comes first of those that isolate.
    fn verdict(&self, headings: &[Heading]) -> String {
        let isolates = |heading: &Heading| heading.isolation == Isolation::Full;
        let shown = |(heading, p50): (&Heading, f64)| format!("{} ({p50:.2})", heading.name);
        let Some(first) = self.first(headings, isolates) else { return "nobody runs it isolated".to_owned() };
        let of_cpython = self.first(headings, |heading| isolates(heading) && heading.is_cpython);
        let rest = match of_cpython.filter(|_| !first.0.is_cpython) {
            Some(of_cpython) => format!("; of those that run CPython: {}", shown(of_cpython)),
            None => String::new(),
        };
        format!("first of the isolated: {}{rest}", shown(first))
    }

    fn json(&self, headings: &[Heading]) -> Value {
        let cells = headings.iter().zip(&self.cells).map(|(heading, cell)| {
            let value = match cell {
                Some(Cell::Measured(samples)) => {
                    let ratios = self.ratios(samples);
                    json!({
                        "p50_ratio": ratios.p50, "p99_ratio": ratios.p99, "count": ratios.count,
                        "p50_ms": samples.quantile(0.50), "p99_ms": samples.quantile(0.99),
                    })
                }
                Some(Cell::Failed(reason)) => json!({ "failed": reason }),
                None => json!({ "absent": heading.absent }),
            };
            (heading.name.to_owned(), value)
        });
        json!({
            "program": self.program, "source": self.source, "verdict": self.verdict(headings),
            "baseline_p50_ms": self.baseline.quantile(0.50), "baseline_count": self.baseline.count(),
            "peers": cells.collect::<Map<_, _>>(),
        })
    }
}

impl Table {
    pub fn print(&self) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!(
            "multiples of the median spawn of `python3 -I -c pass` in the same row; load averages now: {}",
            load.trim()
        );
        for row in &self.rows {
            let (unit, spawns) = (row.baseline.quantile(0.50), row.baseline.count());
            println!(
                "\n{:68}{:>8}{:>8}{:>8}   unit: {unit:.2} ms, {spawns} spawns",
                row.program, "p50", "p99", "count"
            );
            for (heading, cell) in self.headings.iter().zip(&row.cells) {
                let start = format!("  {:43}{:23}", heading.name, heading.isolation.shown());
                match cell {
                    Some(Cell::Measured(samples)) => {
                        let ratios = row.ratios(samples);
                        let p99 = ratios.p99.map_or("–".to_owned(), |p99| format!("{p99:.2}"));
                        println!("{start}{:>8.2}{p99:>8}{:>8}", ratios.p50, ratios.count);
                    }
                    Some(Cell::Failed(reason)) => println!("{start}    fails: {reason}"),
                    None => println!("{start}    absent: {}", heading.absent.as_deref().unwrap_or_default()),
                }
            }
            println!("  {}", row.verdict(&self.headings));
        }
    }

    pub fn json(&self, quick: bool) -> Value {
        let headings = self.headings.iter().map(|heading| {
            json!({
                "name": heading.name, "isolation": heading.isolation.shown(), "isolates": heading.isolation == Isolation::Full,
                "cpython": heading.is_cpython, "absent": heading.absent,
            })
        });
        let rows: Vec<_> = self.rows.iter().map(|row| row.json(&self.headings)).collect();
        let processors = std::thread::available_parallelism().map_or(0, |processors| processors.get());
        json!({ "quick": quick, "processors": processors, "peers": headings.collect::<Vec<_>>(), "rows": rows })
    }
}
