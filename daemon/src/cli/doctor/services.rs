//! The interpreter service: the configured one, or what listens on port 50081.

use std::net::TcpStream;
use std::time::Duration;

use super::finding::Finding;
use crate::cli::running::ask;
use crate::cli::services::serve_without_flags;
use crate::interpreter::{Listening, ServiceUrl, listening};
use crate::status::Status;

const DEADLINE: Duration = Duration::from_secs(3);

pub fn detected() -> Finding {
    const NAME: &str = "service";
    // Wrong settings are another check's finding.
    let configured = serve_without_flags().ok().and_then(|arguments| arguments.settings.interpreter.interpreter_url);
    if let Some(url) = configured {
        return match reach(&url) {
            Ok(()) => Finding::ok(NAME, format!("{url} is configured, and listens")),
            Err(reason) => Finding::failed(
                NAME,
                format!(
                    "{url} is configured and cannot be connected to ({reason}): start it, or remove interpreter_url and PYTHON_INTERPRETER_MCP_URL"
                ),
            ),
        };
    }
    // The daemon's answer counts: under systemd it has another environment and another view of the machine.
    if let Ok(Some(Status { interpreter, .. })) = ask::<Status>("/status") {
        return Finding::ok(NAME, format!("programs go to {}: {}", interpreter.name, interpreter.why));
    }
    match listening() {
        Listening::Nobody => Finding::ok(NAME, "none on port 50081, so that programs go to the embedded interpreter"),
        Listening::Trusted => {
            Finding::ok(NAME, "one listens on port 50081 and is yours or root's: programs will go there")
        }
        Listening::Others => Finding::note(
            NAME,
            "another user's service listens on port 50081 and is not used: programs go to the embedded interpreter",
        ),
    }
}

fn reach(url: &ServiceUrl) -> Result<(), String> {
    let addresses = url.addresses().map_err(|error| error.to_string())?;
    let mut reason = "it has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(_) => return Ok(()),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}
