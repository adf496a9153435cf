//! `preload`: shows what the embedded interpreter has learned about modules, or has it forget that, whether it runs or not.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use python_interpreter::learning::{self, Counted, Report};
use python_interpreter::wire::PRELOAD_PATH;
use python_interpreter_mcp::endpoint;
use serde_json::Value;

use super::running::{ask_interpreter, delete_at_interpreter};
use super::services::interpreter_without_flags;
use super::terminal::{Paint, table};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the modules that programs import, and which of them are preloaded or left out
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget all of them; the next Python has none
    Clear,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match arguments.action {
        Action::List { json } => list(json),
        Action::Clear => clear(),
    }
}

fn list(as_json: bool) -> anyhow::Result<ExitCode> {
    let report = match ask_interpreter::<Report>(PRELOAD_PATH)? {
        Some(report) => report,
        None => {
            let learns = interpreter_without_flags()?.learns();
            let directory = endpoint::state_directory().context("there is no state directory")?;
            Report { learns, ..learning::read(&directory).context("what was learned cannot be read")? }
        }
    };
    let text = if as_json { serde_json::to_string_pretty(&report)? + "\n" } else { shown(&report) };
    // Whoever reads it may have enough of it.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn clear() -> anyhow::Result<ExitCode> {
    if delete_at_interpreter::<Value>(PRELOAD_PATH)?.is_none()
        && let Some(directory) = endpoint::state_directory()
    {
        learning::clear(&directory).context("the file cannot be removed")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(report: &Report) -> String {
    let mut text = match report.learns {
        true => String::new(),
        false => "The settings name the modules; none are learned.\n".to_owned(),
    };
    let state = |module: &String| match report.left_out.get(module) {
        _ if report.preloaded.contains(module) => "preloaded".to_owned(),
        Some(reason) => format!("left out: {reason}"),
        None => "counted".to_owned(),
    };
    let row = |Counted { module, programs }: &Counted| vec![module.clone(), format!("{programs:.1}"), state(module)];
    let rows: Vec<Vec<String>> = report.modules.iter().map(row).collect();
    match (rows.is_empty(), report.learns) {
        (true, true) => text += "Nothing was learned yet.\n",
        (true, false) => {}
        (false, _) => text += &table(Paint::of_stdout(), &["MODULE", "PROGRAMS", "STATE"], &rows),
    }
    text
}
