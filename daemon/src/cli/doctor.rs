//! `doctor`: checks everything that a call needs, and says how to fix what is wrong, one line each.

mod clients;
mod finding;
mod places;
mod python;
mod services;
mod sessions;

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::terminal::{Paint, printable};
use finding::{Finding, Level};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,

    /// Print only what is wrong
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let paint = Paint::of_stdout();
    let mut out = io::stdout();
    let mut findings = Vec::new();
    // Printed at once: starting Python takes a moment.
    let mut found = |finding: Finding| {
        if !arguments.json && (!arguments.quiet || finding.level == Level::Failed) {
            let _ = out.write_all(line(&finding, paint).as_bytes());
        }
        findings.push(finding);
    };
    found(places::configuration());
    found(places::state());
    found(places::sockets());
    found(sessions::daemon());
    found(sessions::systemd());
    found(services::detected());
    sessions::memory_limit().into_iter().for_each(&mut found);
    python::look(&mut found);
    clients::look(&mut found);
    if arguments.json {
        let _ = out.write_all((serde_json::to_string_pretty(&findings)? + "\n").as_bytes());
    }
    let failed = findings.iter().filter(|finding| finding.level == Level::Failed).count();
    if !arguments.json && !arguments.quiet {
        let verdict = match failed {
            0 => "Nothing is wrong.".to_owned(),
            1 => "One thing is wrong.".to_owned(),
            failed => format!("{failed} things are wrong."),
        };
        let _ = writeln!(out, "{verdict}");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line, even if an error had several.
fn line(finding: &Finding, paint: Paint) -> String {
    let mark = match finding.level {
        Level::Ok => paint.green("ok    "),
        Level::Note => paint.yellow("note  "),
        Level::Failed => paint.red("FAILED"),
    };
    let text = finding.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    format!("{mark} {}  {}\n", paint.bold(&format!("{:<13}", finding.name)), printable(&text))
}
