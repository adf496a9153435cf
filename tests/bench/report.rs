//! The rows: each with its figure, the bound that must hold and the one to aim at, as a table and as JSON.

use serde_json::{Map, Value, json};

use crate::rounds::Samples;

#[derive(Clone, Copy)]
pub struct Bounds {
    must: f64,
    aim: f64,
    higher_is_better: bool,
}

pub const fn at_most(must: f64, aim: f64) -> Bounds {
    Bounds { must, aim, higher_is_better: false }
}

pub const fn at_least(must: f64, aim: f64) -> Bounds {
    Bounds { must, aim, higher_is_better: true }
}

struct Row {
    name: &'static str,
    /// None where it could not be measured, which holds no bound.
    value: Option<f64>,
    /// None where the figure is for information.
    bounds: Option<Bounds>,
    detail: String,
    figures: Value,
}

impl Row {
    fn must_holds(&self) -> bool {
        self.bounds.is_none_or(|bounds| self.holds(&bounds, bounds.must))
    }

    fn holds(&self, bounds: &Bounds, bound: f64) -> bool {
        self.value.is_some_and(|value| if bounds.higher_is_better { value >= bound } else { value <= bound })
    }

    /// One of its bounds, and whether it holds, as text.
    fn shown(&self, which: impl Fn(&Bounds) -> f64) -> String {
        let Some(bounds) = &self.bounds else { return "–".to_owned() };
        let (bound, sign) = (which(bounds), if bounds.higher_is_better { '≥' } else { '≤' });
        format!("{sign} {bound} {}", if self.holds(bounds, bound) { "ok" } else { "missed" })
    }
}

#[derive(Default)]
pub struct Report(Vec<Row>);

impl Report {
    pub fn add(&mut self, name: &'static str, value: Option<f64>, bounds: Bounds, detail: String, figures: Value) {
        self.0.push(Row { name, value, bounds: Some(bounds), detail, figures });
    }

    /// A row without bounds.
    pub fn tell(&mut self, name: &'static str, value: Option<f64>, detail: String, figures: Value) {
        self.0.push(Row { name, value, bounds: None, detail, figures });
    }

    /// What this share of `times` stays within, measured by the same of `baseline`. Without bounds it is for information.
    pub fn ratio(
        &mut self,
        name: &'static str,
        share: f64,
        times: &Samples,
        baseline: &Samples,
        bounds: impl Into<Option<Bounds>>,
    ) {
        let both = |share| (times.quantile(share), baseline.quantile(share));
        let ((p50, baseline_p50), (p99, baseline_p99)) = (both(0.50), both(0.99));
        let detail = format!(
            "p50 {p50:.2} ÷ {baseline_p50:.2} ms, p99 {p99:.2} ÷ {baseline_p99:.2} ms, {} rounds",
            times.count()
        );
        let figures = json!({
            "p50_ms": p50, "p99_ms": p99, "baseline_p50_ms": baseline_p50, "baseline_p99_ms": baseline_p99,
            "rounds": times.count(),
        });
        let value = Some(times.quantile(share) / baseline.quantile(share));
        self.0.push(Row { name, value, bounds: bounds.into(), detail, figures });
    }

    pub fn passed(&self) -> bool {
        self.0.iter().all(Row::must_holds)
    }

    pub fn print(&self) {
        // What else runs takes its share of the processors by the number of its processes.
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("{:28}{:>10}  {:16}{:16}load averages now: {}", "", "", "must", "aim", load.trim());
        for row in &self.0 {
            let value = row.value.map_or("–".to_owned(), |value| format!("{value:.3}"));
            println!(
                "{:28}{value:>10}  {:16}{:16}{}",
                row.name,
                row.shown(|bounds| bounds.must),
                row.shown(|bounds| bounds.aim),
                row.detail
            );
        }
    }

    pub fn json(&self, quick: bool) -> Value {
        let rows = self.0.iter().map(|row| {
            let Row { value, bounds, detail, figures, .. } = row;
            let [must, aim] = [|bounds: &Bounds| bounds.must, |bounds: &Bounds| bounds.aim].map(|which| bounds.as_ref().map(which));
            let held = |bound: Option<f64>| bounds.as_ref().zip(bound).map(|(bounds, bound)| row.holds(bounds, bound));
            let row_json = json!({
                "value": value, "must": must, "must_held": held(must), "aim": aim, "aim_held": held(aim), "detail": detail,
                "figures": figures,
            });
            (row.name.to_owned(), row_json)
        });
        let processors = std::thread::available_parallelism().map_or(0, |processors| processors.get());
        json!({ "quick": quick, "processors": processors, "rows": rows.collect::<Map<_, _>>() })
    }
}
