//! `client`: makes this server known to AI clients, in their own configuration files, or takes it out of them.

mod document;
mod file;
mod installed_clients;
mod supported_clients;

use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use similar::TextDiff;

pub use installed_clients::{Found, State, found, look, shim};
use supported_clients::Client;

use super::terminal::printable;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Have clients start this server [default: all that have a configuration here]
    Add(Change),
    /// Have clients forget this server [default: all that know it]
    Remove(Change),
    /// Show which clients are here, and whether they start this server
    List,
}

#[derive(Debug, clap::Args)]
struct Change {
    /// The clients to change; one that is named gets a configuration if it has none
    #[arg(value_name = "CLIENT", value_enum)]
    clients: Vec<Client>,

    /// Write without asking
    #[arg(long, short = 'y', conflicts_with = "dry_run")]
    yes: bool,

    /// Show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let shim = installed_clients::shim()?;
    let mut output = io::stdout().lock();
    match arguments.command {
        Command::List => list(&mut output, &shim),
        Command::Add(change) => each(&mut output, &change, &shim, true),
        Command::Remove(change) => each(&mut output, &change, &shim, false),
    }
}

fn list(output: &mut impl Write, shim: &Path) -> anyhow::Result<ExitCode> {
    let found = found(shim)?;
    for Found { client, file, state } in &found {
        let state = match state {
            State::Right => "starts it".to_owned(),
            State::Another(command) => format!("starts another program, {}", printable(command)),
            State::Other => "has something else of its name".to_owned(),
            State::Missing => "does not know it".to_owned(),
            State::NoFile => "has no configuration yet".to_owned(),
            State::Unreadable(reason) => format!("cannot be read: {reason}"),
        };
        writeln!(output, "{:<15} {state:<24} {}", client.title(), file.display())?;
    }
    if found.is_empty() {
        writeln!(output, "none of the known clients is here")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One client whose file cannot be changed does not keep the others from it.
fn each(output: &mut impl Write, change: &Change, shim: &Path, add: bool) -> anyhow::Result<ExitCode> {
    let found = if change.clients.is_empty() {
        found(shim)?
    } else {
        change.clients.iter().map(|client| look(*client, shim)).collect::<Result<_, _>>()?
    };
    if found.is_empty() {
        bail!("none of the known clients is here: name one to make its configuration");
    }
    let mut code = ExitCode::SUCCESS;
    for one in &found {
        if let Err(error) = apply(output, one, change, shim, add) {
            output.flush()?;
            let _ = writeln!(io::stderr(), "python-interpreter-mcpd: {}: {error:#}", one.client.title());
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn apply(output: &mut impl Write, found: &Found, change: &Change, shim: &Path, add: bool) -> anyhow::Result<()> {
    let Found { client, file, state } = found;
    let title = client.title();
    match (state, add) {
        (State::Unreadable(reason), _) => bail!("{reason}; it is left as it is"),
        (State::Right, true) => return Ok(writeln!(output, "{title} starts it already: {}", file.display())?),
        (State::NoFile, true) if change.clients.is_empty() => {
            return Ok(writeln!(output, "{title} has no configuration; name it to make {}", file.display())?);
        }
        (State::Other, _) if change.clients.is_empty() => {
            return Ok(writeln!(
                output,
                "{title} has something else of its name, which is left alone; name it to change that"
            )?);
        }
        (State::Another(command), _) if change.clients.is_empty() && !document::is_shim(command) => {
            let command = printable(command);
            return Ok(writeln!(
                output,
                "{title} starts {command} by its name, which is left alone; name it to change that"
            )?);
        }
        (State::Missing | State::NoFile, false) => return Ok(writeln!(output, "{title} does not know it")?),
        _ => {}
    }
    let before = file::read(file)?;
    let text = before.as_deref().unwrap_or_default();
    let refused = || format!("{} is left as it is", file.display());
    let after = if add {
        let shim = shim.to_str().context("the path of python-interpreter-mcp is not UTF-8 text")?;
        document::with(*client, text, shim).with_context(refused)?
    } else {
        forget(*client, text, file).with_context(refused)?
    };
    show(output, file, text, &after)?;
    if change.dry_run {
        return Ok(());
    }
    if !change.yes && !agreed(output)? {
        return Ok(writeln!(output, "{title} is left as it is")?);
    }
    let kept = file::replace(file, before.as_deref(), &after)?;
    let done = if add { "starts it from its next start on" } else { "does not know it any more" };
    match kept {
        Some(kept) => writeln!(output, "{title} {done}; what was there is kept as {}", kept.display())?,
        None => writeln!(output, "{title} {done}")?,
    }
    Ok(())
}

/// Where nothing was changed since the entry was added, all is as it was before, down to the last blank.
fn forget(client: Client, text: &str, file: &Path) -> anyhow::Result<String> {
    let before = file::backup(file).filter(|before| {
        let command = match document::present(client, text) {
            Ok(document::Present::Command(command)) => command,
            _ => return false,
        };
        matches!(document::present(client, before), Ok(document::Present::Nothing))
            && document::with(client, before, &command).is_ok_and(|added| added == text)
    });
    match before {
        Some(before) => Ok(before),
        None => Ok(document::without(client, text)?),
    }
}

fn show(output: &mut impl Write, file: &Path, before: &str, after: &str) -> io::Result<()> {
    let diff = TextDiff::from_lines(before, after);
    writeln!(output, "{}", file.display())?;
    // The two names of a file are of no use to anybody here.
    for line in diff.unified_diff().context_radius(2).to_string().lines() {
        writeln!(output, "{}", printable(line.trim_end_matches('\r')))?;
    }
    output.flush()
}

fn agreed(output: &mut impl Write) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("nothing is written without being asked for: add --yes, or run it in a terminal");
    }
    write!(output, "Write this? [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
