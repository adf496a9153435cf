//! A client's configuration as text: finds, adds and removes our entry. Everything else stays byte for byte.

mod json;
mod notation;
mod toml;
mod yaml;

use std::path::Path;

use serde_json::{Map, Value};

use super::supported_clients::{Client, Format, NAME};
pub use notation::DocumentError;
use notation::newline;

/// What the configuration has under our name.
#[derive(Debug, PartialEq, Eq)]
pub enum Present {
    Nothing,
    /// An entry that starts this program.
    Command(String),
    /// An entry of another kind.
    Other,
}

pub fn present(client: Client, text: &str) -> Result<Present, DocumentError> {
    let tree = tree(client, text.trim_start_matches(BYTE_ORDER_MARK))?;
    Ok(match tree.get(client.servers()).and_then(|servers| servers.get(NAME)) {
        None => Present::Nothing,
        Some(entry) => match entry.get(client.command()).and_then(Value::as_str) {
            Some(command) => Present::Command(command.to_owned()),
            None => Present::Other,
        },
    })
}

/// The text with an entry that starts `shim`. If the entry starts a shim elsewhere, only its path changes. An entry of another program is
/// replaced, together with its arguments.
pub fn with(client: Client, text: &str, shim: &str) -> Result<String, DocumentError> {
    let replaced = match present(client, text)? {
        Present::Command(other) if !is_shim(&other) => Some(without(client, text)?),
        _ => None,
    };
    let text = replaced.as_deref().unwrap_or(text);
    edit(client, text, |text| match client.format() {
        Format::Json => json::with(client, text, shim),
        Format::Toml => toml::with(client, text, shim),
        Format::Yaml => yaml::with(client, text, shim),
    })
    .and_then(|edited| match present(client, &edited) {
        Ok(Present::Command(command)) if command == shim => Ok(edited),
        _ => Err(DocumentError::Unfit("the entry would not be read back")),
    })
}

/// Whether the path is that of a shim.
pub fn is_shim(command: &str) -> bool {
    Path::new(command).file_name().is_some_and(|name| name == "python-interpreter-mcp")
}

pub fn without(client: Client, text: &str) -> Result<String, DocumentError> {
    edit(client, text, |text| match client.format() {
        Format::Json => json::without(client, text),
        Format::Toml => toml::without(client, text),
        Format::Yaml => yaml::without(client, text),
    })
    .and_then(|edited| match present(client, &edited) {
        Ok(Present::Nothing) => Ok(edited),
        _ => Err(DocumentError::Unfit("the entry would still be there")),
    })
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Applies `change`, and refuses a result in which any other setting differs.
fn edit(
    client: Client,
    text: &str,
    change: impl FnOnce(&str) -> Result<String, DocumentError>,
) -> Result<String, DocumentError> {
    let body = text.trim_start_matches(BYTE_ORDER_MARK);
    let mark = &text[..text.len() - body.len()];
    let before = tree(client, body)?;
    let edited = graft(body, &change(body)?);
    let after = tree(client, &edited).map_err(|_| DocumentError::Unfit("the result would not be valid"))?;
    if others(client, before) != others(client, after) {
        return Err(DocumentError::Unfit("other settings would change"));
    }
    Ok(format!("{mark}{edited}"))
}

fn tree(client: Client, text: &str) -> Result<Map<String, Value>, DocumentError> {
    let tree = match client.format() {
        Format::Json => json::tree(text),
        Format::Toml => toml::tree(text),
        Format::Yaml => yaml::tree(text),
    }?;
    match tree {
        Value::Object(tree) => match tree.get(client.servers()) {
            None | Some(Value::Object(_) | Value::Null) => Ok(tree),
            Some(_) => Err(DocumentError::NotATable(format!("\"{}\"", client.servers()))),
        },
        _ => Err(DocumentError::NotATable("the whole file".to_owned())),
    }
}

/// All settings except our entry. An empty table of servers is left out.
fn others(client: Client, mut tree: Map<String, Value>) -> Map<String, Value> {
    let servers = tree.remove(client.servers());
    if let Some(Value::Object(mut servers)) = servers {
        servers.remove(NAME);
        if !servers.is_empty() {
            tree.insert(client.servers().to_owned(), Value::Object(servers));
        }
    }
    tree
}

/// `before` with the lines that `edited` changed. The other lines keep their line ends, which the editing libraries would change.
fn graft(original: &str, edited: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (original.split_inclusive('\n').collect(), edited.split_inclusive('\n').collect());
    let content = |line: &&str| line.trim_end_matches(['\r', '\n']).to_owned();
    let alike = |(a, b): &(&&str, &&str)| content(a) == content(b);
    let before = old.iter().zip(&new).take_while(alike).count();
    let most = old.len().min(new.len()) - before;
    let after = old.iter().rev().zip(new.iter().rev()).take_while(alike).count().min(most);

    let newline = newline(original);
    let mut grafted = old[..before].concat();
    let middle = &new[before..new.len() - after];
    if !middle.is_empty() && !grafted.is_empty() && !grafted.ends_with('\n') {
        grafted.push_str(newline);
    }
    for line in middle {
        grafted.push_str(&content(line));
        if line.ends_with('\n') {
            grafted.push_str(newline);
        }
    }
    let rest = old[old.len() - after..].concat();
    if !rest.is_empty() && !grafted.is_empty() && !grafted.ends_with('\n') {
        grafted.push_str(newline);
    }
    grafted + &rest
}
