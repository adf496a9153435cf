//! `client`: adds this server to the configuration files of AI clients, or removes it.

mod document;
mod file;
mod installed_clients;
mod supported_clients;

use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use similar::TextDiff;

pub use installed_clients::{EntryState, Found, found, look, shim};
use supported_clients::Client;

use super::terminal::printable;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add this server to clients [default: all that have a configuration on this machine]
    Add(Change),
    /// Remove this server from clients [default: all that have it]
    Remove(Change),
    /// Show which clients are installed, and whether they have this server
    List,
}

#[derive(Debug, clap::Args)]
struct Change {
    /// The clients [default: all installed ones]; `add` creates the configuration of a named client if it has none
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
            EntryState::Right => "has this server".to_owned(),
            EntryState::Another(command) => format!("starts another program, {}", printable(command)),
            EntryState::Other => "has an entry of this name that is no program".to_owned(),
            EntryState::Missing => "does not have this server".to_owned(),
            EntryState::NoFile => "has no configuration yet".to_owned(),
            EntryState::Unreadable(reason) => format!("cannot be read: {reason}"),
        };
        writeln!(output, "{:<15} {state:<24} {}", client.title(), file.display())?;
    }
    if found.is_empty() {
        writeln!(output, "no supported client is installed")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes every client, even if one of them fails.
fn each(output: &mut impl Write, change: &Change, shim: &Path, add: bool) -> anyhow::Result<ExitCode> {
    let found = if change.clients.is_empty() {
        found(shim)?
    } else {
        change.clients.iter().map(|client| look(*client, shim)).collect::<Result<_, _>>()?
    };
    if found.is_empty() {
        bail!("no supported client is installed: name one to create its configuration");
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
        (EntryState::Unreadable(reason), _) => bail!("{reason}; the file is not changed"),
        (EntryState::Right, true) => {
            return Ok(writeln!(output, "{title} already has this server: {}", file.display())?);
        }
        (EntryState::NoFile, true) if change.clients.is_empty() => {
            return Ok(writeln!(output, "{title} has no configuration; name it to create {}", file.display())?);
        }
        (EntryState::Other, _) if change.clients.is_empty() => {
            return Ok(writeln!(
                output,
                "{title} has an entry of this name that is no program; name the client to replace it"
            )?);
        }
        (EntryState::Another(command), _) if change.clients.is_empty() && !document::is_shim(command) => {
            let command = printable(command);
            return Ok(writeln!(output, "{title} starts {command} under this name; name the client to replace it")?);
        }
        (EntryState::Missing | EntryState::NoFile, false) => {
            return Ok(writeln!(output, "{title} does not have this server")?);
        }
        _ => {}
    }
    let before = file::read(file)?;
    let text = before.as_deref().unwrap_or_default();
    let refused = || format!("{} is not changed", file.display());
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
        return Ok(writeln!(output, "{title} is not changed")?);
    }
    let kept = file::replace(file, before.as_deref(), &after)?;
    let done = if add { "has this server from its next start on" } else { "does not have this server any more" };
    match kept {
        Some(kept) => writeln!(output, "{title} {done}; the old configuration is kept as {}", kept.display())?,
        None => writeln!(output, "{title} {done}")?,
    }
    Ok(())
}

/// If nothing else has changed since the entry was added, this restores the file byte for byte.
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
    // The diff's header names two files, which both are this one.
    for line in diff.unified_diff().context_radius(2).to_string().lines() {
        writeln!(output, "{}", printable(line.trim_end_matches('\r')))?;
    }
    output.flush()
}

fn agreed(output: &mut impl Write) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask for confirmation on: add --yes");
    }
    write!(output, "Write this? [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
