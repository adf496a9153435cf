//! Builds a slot and attacks it: which protections hold is found by trying, never by a version number. Whatever does not hold,
//! nothing runs.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::output::{Kept, drain};
use crate::prepare::Prepared;
use crate::sandbox::{Bind, Network};
use crate::slot::{Slot, SlotError, put};
use crate::spawner::Need;
use crate::workshop::Workshop;

const PROGRAM: &str = include_str!("../runner/probe.py");
/// Where the values go that only the host knows.
const PLACE: &str = "# Here `probe.rs` writes";
const DEADLINE: Duration = Duration::from_secs(30);
const OUTPUT: usize = 64 * 1024;
/// Names as their users write them; the first of two of the same name is what an import finds.
const LIBRARIES: &str = "import importlib.metadata, json
found = {}
for library in importlib.metadata.distributions():
    name = library.metadata['Name']
    if name:
        found.setdefault(name, library.version)
print(json.dumps(dict(sorted(found.items(), key=lambda item: item[0].lower())[:1000])))
";

/// Protection → whether it holds.
pub type Protections = BTreeMap<String, bool>;

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error(
        "cannot isolate Python: these protections do not hold: {0}. Nothing is run; please report this with your kernel's version"
    )]
    Unprotected(String),
    #[error("cannot run Python: a first program gave no answer within {DEADLINE:?}")]
    Silent,
    #[error("cannot run Python: a first program ended without its answer, and said {0:?}")]
    NoAnswer(String),
}

/// Attacks a slot of `workshop`. `private` are directories that no program may see.
pub async fn attack(workshop: &Arc<Workshop>, private: &[PathBuf]) -> Result<Protections, ProbeError> {
    // Reachable from everywhere on this machine, but for a slot.
    let listener = TcpListener::bind("127.0.0.1:0").map_err(SlotError::from)?;
    let port = listener.local_addr().map_err(SlotError::from)?.port();
    let leading = private.iter().map(|path| (path.display().to_string(), names_shown_in(path, workshop)));
    let values = format!("PORT, PRIVATE = {port}, {}\n{PLACE}", serde_json::json!(BTreeMap::from_iter(leading)));
    let said = run(workshop, PROGRAM.replace(PLACE, &values)).await?;
    let protections: Protections = serde_json::from_str(&said.stdout).map_err(|_| said.no_answer())?;
    let wanted = |name: &str| name != "network" || workshop.policy.network == Network::None;
    let missing: Vec<&str> =
        protections.iter().filter(|(name, holds)| !**holds && wanted(name)).map(|(name, _)| name.as_str()).collect();
    if missing.is_empty() { Ok(protections) } else { Err(ProbeError::Unprotected(missing.join(", "))) }
}

/// The distributions that programs can import from, name → version, as one of them sees them.
pub async fn libraries(workshop: &Arc<Workshop>) -> Result<BTreeMap<String, String>, ProbeError> {
    let said = run(workshop, LIBRARIES.to_owned()).await?;
    serde_json::from_str(&said.stdout).map_err(|_| said.no_answer())
}

/// What a program of ours printed.
struct Said {
    stdout: String,
    stderr: String,
}

impl Said {
    fn no_answer(&self) -> ProbeError {
        ProbeError::NoAnswer(self.stderr.lines().last().unwrap_or_default().to_owned())
    }
}

/// Runs a program of ours in a slot of its own.
async fn run(workshop: &Arc<Workshop>, source_code: String) -> Result<Said, ProbeError> {
    let prepared = Prepared::of_source(source_code);
    let (slot, output) = Slot::build(workshop.clone(), Need::Now).await?;
    {
        let _as_program = workshop.policy.identity.act();
        put(&slot.workspace, prepared.script.as_ref(), prepared.source_code.as_bytes()).map_err(SlotError::from)?;
    }
    slot.start(&prepared.job(&workshop.launch))?;
    let (mut stdout, mut stderr) = (Kept::new(OUTPUT), Kept::new(OUTPUT));
    let run = async {
        let ended = slot.ended().await;
        slot.kill().await?;
        ended
    };
    let all = async { tokio::join!(run, drain(output.stdout, &mut stdout), drain(output.stderr, &mut stderr)).0 };
    timeout(DEADLINE, all).await.map_err(|_| ProbeError::Silent)??;
    Ok(Said { stdout: stdout.into_text(), stderr: stderr.into_text() })
}

/// What of `directory` is there in a slot: where Python, or a folder that the user shows, lies below it, the way there is.
fn names_shown_in(directory: &Path, workshop: &Workshop) -> Vec<String> {
    let below =
        |bind: &Bind| Some(bind.target.strip_prefix(directory).ok()?.iter().next()?.to_string_lossy().into_owned());
    workshop.policy.root.binds.iter().filter_map(below).collect()
}
