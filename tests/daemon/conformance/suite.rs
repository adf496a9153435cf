//! Runs the protocol's conformance suite against a server, and compares what it finds with what is known.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::client_software;
use crate::support::world::{Running, World};
use serde::Deserialize;

/// Of a whole set of scenarios.
const DEADLINE: Duration = Duration::from_secs(600);
/// Of one scenario, in milliseconds: generous, because the machine is shared.
const SCENARIO_DEADLINE: &str = "120000";
/// As in `-2026-07-28T12-34-56-789Z`, at the end of a folder's name.
const TIMESTAMP_CHARACTERS: usize = 25;

/// Findings that are known and why: each is a scenario, or one check of it, as `scenario:check`. A scenario stands for all of its checks
/// but those of what is said on the wire, which has to be the protocol's whatever it says.
pub type Known = [(&'static str, &'static [&'static str])];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    status: String,
    error_message: Option<String>,
}

/// The checks of each scenario that was run.
struct Report(BTreeMap<String, Vec<Check>>);

/// `None` where the suite is missing, and that is said.
pub fn installed() -> Option<Command> {
    client_software::conformance_suite(&World::new())
}

/// Runs all that the suite has for servers of `revision`, what it requires and what it only reports, and panics if it finds what is not
/// known, or no longer finds what is. Without the suite the test is passed over.
pub fn expect(revision: &str, url: &str, known: &Known) {
    let world = World::new();
    let Some(mut command) = client_software::conformance_suite(&world) else { return };
    let (results, log) = (world.path().join("results"), world.path().join("log"));
    let output = File::create(&log).unwrap();
    command.args(["server", "--url", url, "--requirements", revision, "--timeout", SCENARIO_DEADLINE, "--output-dir"]);
    command.arg(&results).current_dir(world.path()).stdout(output.try_clone().unwrap()).stderr(output);
    let status = Running::start(&mut command).unwrap().ended_within(DEADLINE);
    let log = fs::read_to_string(log).unwrap();
    assert!(status.is_some(), "the suite did not end within {DEADLINE:?}: {log}");
    assert!(log.contains("=== SUMMARY ==="), "the suite broke off: {log}");
    let report = Report::read(&results, &log);
    println!("at revision {revision}: {}", report.summary());
    let wrong = report.compare(known);
    assert!(wrong.is_empty(), "at revision {revision}:\n{}\n\n{log}", wrong.join("\n"));
}

impl Report {
    fn read(results: &Path, log: &str) -> Self {
        let announced =
            log.lines().filter_map(|line| line.strip_prefix("=== Running scenario: ")?.strip_suffix(" ==="));
        let mut scenarios: BTreeMap<String, Vec<Check>> = announced.map(|name| (name.to_owned(), Vec::new())).collect();
        for entry in fs::read_dir(results).unwrap().flatten() {
            let folder = entry.file_name().into_string().unwrap();
            let name = folder
                .strip_prefix("server-")
                .and_then(|name| name.split_at_checked(name.len() - TIMESTAMP_CHARACTERS));
            let checks = fs::read(entry.path().join("checks.json")).unwrap_or_else(|_| b"[]".into());
            let checks = serde_json::from_slice(&checks).unwrap();
            *scenarios.get_mut(name.unwrap().0).expect("results of a scenario that was announced") = checks;
        }
        assert!(!scenarios.is_empty(), "no scenario was run: {log}");
        Self(scenarios)
    }

    /// How often there was which outcome.
    fn summary(&self) -> String {
        let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
        for check in self.0.values().flatten() {
            *outcomes.entry(&check.status).or_default() += 1;
        }
        format!("{} scenarios, {outcomes:?}", self.0.len())
    }

    fn compare(&self, known: &Known) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut known: Vec<(&str, bool)> =
            known.iter().flat_map(|(_, names)| names.iter().map(|name| (*name, false))).collect();
        for (scenario, checks) in &self.0 {
            if checks.is_empty() {
                wrong.push(format!("{scenario} broke off"));
            }
            // A warning is about what a server SHOULD do.
            for check in checks.iter().filter(|check| matches!(check.status.as_str(), "FAILURE" | "WARNING")) {
                let name = format!("{scenario}:{}", check.id);
                let of_scenario = !check.id.starts_with("wire-schema");
                match known.iter_mut().find(|(known, _)| *known == name || of_scenario && *known == scenario) {
                    Some((_, found)) => *found = true,
                    None => {
                        let message = check.error_message.as_deref().unwrap_or_default();
                        wrong.push(format!("{} {name}: {message}", check.status));
                    }
                }
            }
        }
        let is_run = |name: &str| match name.split_once(':') {
            Some((scenario, id)) => {
                self.0.get(scenario).is_some_and(|checks| checks.iter().any(|check| check.id == id))
            }
            None => self.0.contains_key(name),
        };
        let stale = known.iter().filter(|(name, found)| !found && is_run(name));
        wrong.extend(stale.map(|(name, _)| format!("{name} is listed as known, and holds")));
        wrong
    }
}
