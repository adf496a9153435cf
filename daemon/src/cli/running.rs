//! Asks the running daemon, or interpreter, over its socket, without ever starting it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use python_interpreter_mcp::endpoint::{self, Socket};
use reqwest::Method;
use serde::de::DeserializeOwned;
use tokio::runtime::Builder;

const DEADLINE: Duration = Duration::from_secs(5);

/// The daemon's answer at `path`; none if no daemon runs.
pub fn ask<T: DeserializeOwned>(path: &str) -> anyhow::Result<Option<T>> {
    ask_at(Socket::Mcp, Method::GET, path)
}

/// The embedded interpreter's answer at `path`; none if it does not run.
pub fn ask_interpreter<T: DeserializeOwned>(path: &str) -> anyhow::Result<Option<T>> {
    ask_at(Socket::Interpreter, Method::GET, path)
}

/// As [`ask_interpreter`], with `DELETE`.
pub fn delete_at_interpreter<T: DeserializeOwned>(path: &str) -> anyhow::Result<Option<T>> {
    ask_at(Socket::Interpreter, Method::DELETE, path)
}

/// Whether systemd listens and no process runs. Then connecting would start one.
pub fn is_only_listened_for(socket: Socket) -> bool {
    let service = socket.unit().replace(".socket", ".service");
    let state = endpoint::unit_property(&service, "ActiveState");
    matches!(state.as_deref(), Some("inactive" | "failed"))
        && endpoint::unit_property(socket.unit(), "ActiveState").as_deref() == Some("active")
}

fn ask_at<T: DeserializeOwned>(socket: Socket, method: Method, path: &str) -> anyhow::Result<Option<T>> {
    if is_only_listened_for(socket) {
        return Ok(None);
    }
    let socket = endpoint::socket_path(socket)?;
    // It also checks the owner of the socket.
    if endpoint::connect(&socket)?.is_none() {
        return Ok(None);
    }
    let client = reqwest::Client::builder().unix_socket(socket).no_proxy().timeout(DEADLINE).build()?;
    let asked = async {
        let answer = client.request(method, format!("http://localhost{path}")).send().await?;
        let status = answer.status();
        anyhow::Ok((status, answer.bytes().await?))
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(asked).context("it is there, but gives no answer")?;
    if status == reqwest::StatusCode::NOT_FOUND {
        bail!(
            "it is of another version: end it with `python-interpreter-mcpd stop`, and the next call starts this one"
        );
    }
    if !status.is_success() {
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        bail!("{}", said["detail"].as_str().unwrap_or(status.as_str()));
    }
    Ok(Some(serde_json::from_slice(&body).context("its answer is of another form")?))
}
