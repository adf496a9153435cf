//! Bar plots of the table, drawn by what was measured: a program for `python-interpreter-mcpd exec`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::interface::Place;
use super::ours;
use crate::mcp::command;
use crate::user::as_user;

const DRAW: &str = include_str!("plots.py");

/// Draws into a directory of the user's, and copies to `directory`.
pub fn draw(table: &Value, place: &Place, directory: &Path) -> Result<()> {
    let drawn = as_user(|| {
        let home = place.home("plots")?;
        let daemon = ours::start(place, "plots", &[])?;
        let program = home.join("plots.py");
        // JSON as text inside of a Python string: what JSON escapes, Python reads again.
        fs::write(&program, format!("import json\ntable = json.loads({})\n{DRAW}", Value::String(table.to_string())))?;
        let drawn = home.join("drawn");
        let mut exec = command(&place.program, daemon.home());
        let output = exec.arg("exec").arg("--output").arg(&drawn).arg(&program).current_dir(&home).output()?;
        ensure!(output.status.success(), "no plots: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(drawn)
    })?;
    fs::create_dir_all(directory).with_context(|| format!("{directory:?}"))?;
    let files = fs::read_dir(&drawn).with_context(|| format!("{drawn:?}"))?;
    for file in files {
        let file = file?;
        fs::copy(file.path(), directory.join(file.file_name())).with_context(|| format!("{directory:?}"))?;
    }
    Ok(())
}
