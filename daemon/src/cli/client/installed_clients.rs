//! Which clients are installed, and whether each starts our shim.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum as _;

use super::document::{self, Present};
use super::file;
use super::supported_clients::Client;

/// A client that is, or was, installed.
#[derive(Debug)]
pub struct Found {
    pub client: Client,
    pub file: PathBuf,
    pub state: EntryState,
}

#[derive(Debug, PartialEq, Eq)]
pub enum EntryState {
    /// It starts our shim.
    Right,
    /// Our name starts the program with this path.
    Another(String),
    /// Our name stands for something that is not a program.
    Other,
    /// Its configuration does not have our name.
    Missing,
    /// The client is installed and has no configuration.
    NoFile,
    /// Why its configuration cannot be read.
    Unreadable(String),
}

/// The clients that have a configuration, or a directory for one.
pub fn found(shim: &Path) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    for client in Client::value_variants() {
        let one = look(*client, shim)?;
        if one.state != EntryState::NoFile || client.trace(&one.file).is_dir() {
            found.push(one);
        }
    }
    Ok(found)
}

pub fn look(client: Client, shim: &Path) -> anyhow::Result<Found> {
    let home = env::home_dir().filter(|home| home.is_absolute()).context("the home directory is unknown: set HOME")?;
    let file = client.file(&home, |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute()));
    let state = match file::read(&file) {
        Err(error) => EntryState::Unreadable(format!("{error:#}")),
        Ok(None) => EntryState::NoFile,
        Ok(Some(text)) => match document::present(client, &text) {
            Err(error) => EntryState::Unreadable(format!("{}, {error}", file.display())),
            Ok(Present::Nothing) => EntryState::Missing,
            Ok(Present::Other) => EntryState::Other,
            Ok(Present::Command(command)) if is_same(&command, shim) => EntryState::Right,
            Ok(Present::Command(command)) => EntryState::Another(command),
        },
    };
    Ok(Found { client, file, state })
}

fn is_same(command: &str, shim: &Path) -> bool {
    let command = Path::new(command);
    command == shim
        || (command.is_absolute()
            && fs::canonicalize(command).ok().zip(fs::canonicalize(shim).ok()).is_some_and(|(one, other)| one == other))
}

/// The shim next to this program, by a path that survives updates.
pub fn shim() -> anyhow::Result<PathBuf> {
    const PROGRAM: &str = "python-interpreter-mcp";
    let own = env::current_exe().context("this program's own path is unknown")?;
    let shim = own.with_file_name(PROGRAM);
    if !shim.is_file() {
        anyhow::bail!("{} is not there: install it beside python-interpreter-mcpd", shim.display());
    }
    // A path in Nix's store changes with each version; that of the profile does not.
    if shim.starts_with("/nix/store") {
        let path = env::var_os("PATH").unwrap_or_default();
        let lasting = env::split_paths(&path)
            .map(|directory| directory.join(PROGRAM))
            .find(|path| !path.starts_with("/nix/store") && fs::canonicalize(path).is_ok_and(|found| found == shim));
        return Ok(lasting.unwrap_or(shim));
    }
    Ok(shim)
}
