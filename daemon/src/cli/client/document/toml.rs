//! TOML.

use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table, TableLike, TomlError};

use super::notation::DocumentError;
use crate::cli::client::supported_clients::{Client, NAME};

pub fn tree(text: &str) -> Result<Value, DocumentError> {
    toml_edit::de::from_document(parse(text)?)
        .map_err(|error| DocumentError::Malformed { line: 1, reason: error.message().to_owned() })
}

pub fn with(client: Client, text: &str, shim: &str) -> Result<String, DocumentError> {
    let mut document = parse(text)?;
    let servers = document.entry(client.servers()).or_insert_with(|| {
        let mut servers = Table::new();
        // Its own header would say nothing.
        servers.set_implicit(true);
        Item::Table(servers)
    });
    let Some(servers) = servers.as_table_like_mut() else {
        return Err(DocumentError::NotATable(client.servers().to_owned()));
    };
    let ours = servers.get_mut(NAME).and_then(Item::as_table_like_mut);
    let command = ours.and_then(|ours: &mut dyn TableLike| ours.get_mut(client.command())).and_then(Item::as_value_mut);
    if let Some(command) = command {
        let decoration = command.decor().clone();
        *command = shim.into();
        *command.decor_mut() = decoration;
    } else {
        let mut table = Table::new();
        for (key, value) in client.entry(shim) {
            table.insert(key, toml_edit::value(value.as_str().unwrap_or_default()));
        }
        servers.insert(NAME, Item::Table(table));
    }
    Ok(document.to_string())
}

pub fn without(client: Client, text: &str) -> Result<String, DocumentError> {
    let mut document = parse(text)?;
    if let Some(servers) = document.get_mut(client.servers()).and_then(Item::as_table_like_mut) {
        servers.remove(NAME);
    }
    Ok(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut, DocumentError> {
    text.parse::<DocumentMut>().map_err(|error: TomlError| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        DocumentError::Malformed { line: before.matches('\n').count() + 1, reason: error.message().to_owned() }
    })
}
