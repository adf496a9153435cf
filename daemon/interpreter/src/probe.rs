//! Builds a slot and attacks it. Which protections hold is found by trying, never by a version number. If one does not hold, no program
//! is run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::channel::Rehearsal;
use crate::prepare::Prepared;
use crate::run::Run;
use crate::sandbox::{Bind, Network, Policy};
use crate::slot::{Slot, SlotError, put};
use crate::spawner::SpawnerHandle;

const PROGRAM: &str = include_str!("../runner/probe.py");
/// The place in the program where the host's values are inserted.
const PLACE: &str = "# Here `probe.rs` writes";
const DEADLINE: Duration = Duration::from_secs(30);
/// Most bytes read of each output stream.
const OUTPUT: usize = 64 * 1024;
/// Lists the installed distributions. Of two with the same name, an import finds the first.
const LIBRARIES: &str = "import importlib.metadata, json
found = {}
for library in importlib.metadata.distributions():
    name = library.metadata['Name']
    if name:
        found.setdefault(name, library.version)
print(json.dumps(dict(sorted(found.items(), key=lambda item: item[0].lower())[:1000])))
";

/// The program that looks names up.
const MODULES: &str = include_str!("../runner/modules.py");

/// Protection → whether it holds.
pub type Protections = BTreeMap<String, bool>;

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error(
        "cannot isolate Python: these protections do not hold: {0}. Nothing is run; please report this, with the version of your kernel"
    )]
    Unprotected(String),
    #[error("cannot run Python: a test program did not answer within {DEADLINE:?}")]
    Silent,
    #[error("cannot run Python: a test program ended without an answer, and printed {0:?}")]
    NoAnswer(String),
}

/// Attacks a slot. No program may see the directories in `private`.
pub async fn attack(spawner: &Arc<SpawnerHandle>, private: &[PathBuf]) -> Result<Protections, ProbeError> {
    // Every process of this machine can connect to it, except one in a slot.
    let listener = TcpListener::bind("127.0.0.1:0").map_err(SlotError::from)?;
    let port = listener.local_addr().map_err(SlotError::from)?.port();
    let policy = &spawner.policy;
    let leading = private.iter().map(|path| (path.display().to_string(), names_shown_in(path, policy)));
    let values = format!("PORT, PRIVATE = {port}, {}\n{PLACE}", serde_json::json!(BTreeMap::from_iter(leading)));
    let output = run(spawner, PROGRAM.replace(PLACE, &values)).await?;
    let protections: Protections = answer(output)?;
    let wanted = |name: &str| name != "network" || policy.network == Network::None;
    let missing: Vec<&str> =
        protections.iter().filter(|(name, holds)| !**holds && wanted(name)).map(|(name, _)| name.as_str()).collect();
    if missing.is_empty() { Ok(protections) } else { Err(ProbeError::Unprotected(missing.join(", "))) }
}

/// The distributions that programs can import from, as a program finds them: name → version.
pub async fn libraries(spawner: &Arc<SpawnerHandle>) -> Result<BTreeMap<String, String>, ProbeError> {
    answer(run(spawner, LIBRARIES.to_owned()).await?)
}

/// Those of the names that are modules which programs can import, apart from their own files. None of them is imported.
pub async fn modules(spawner: &Arc<SpawnerHandle>, names: &[String]) -> Result<BTreeSet<String>, ProbeError> {
    let values = format!("NAMES = {}\n{PLACE}", serde_json::json!(names));
    answer(run(spawner, MODULES.replace(PLACE, &values)).await?)
}

/// Parses what a program printed to stdout as JSON.
fn answer<T: DeserializeOwned>([stdout, stderr]: [String; 2]) -> Result<T, ProbeError> {
    let last_line = || stderr.lines().last().unwrap_or_default().to_owned();
    serde_json::from_str(&stdout).map_err(|_| ProbeError::NoAnswer(last_line()))
}

/// Runs one of the interpreter's own programs in a new slot; returns its stdout and stderr.
async fn run(spawner: &Arc<SpawnerHandle>, source_code: String) -> Result<[String; 2], ProbeError> {
    let prepared = Prepared::of_source(source_code);
    let (slot, child) = Slot::build(spawner.clone(), Rehearsal::Nothing).await?;
    {
        let _as_program = spawner.policy.identity.act();
        put(&slot.workspace, prepared.script.as_ref(), prepared.source_code.as_bytes()).map_err(SlotError::from)?;
    }
    let run = Run::start(&slot, child, &prepared.job(&spawner.launch))?;
    Ok(timeout(DEADLINE, run.output(OUTPUT)).await.map_err(|_| ProbeError::Silent)??)
}

/// The names that a slot shows in `directory`, because Python or a mount lies below it.
fn names_shown_in(directory: &Path, policy: &Policy) -> Vec<String> {
    let below =
        |bind: &Bind| Some(bind.target.strip_prefix(directory).ok()?.iter().next()?.to_string_lossy().into_owned());
    policy.root.binds.iter().filter_map(below).collect()
}
