//! JSON with comments and trailing commas.

use jsonc_parser::ast::{Object, Value as Node};
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use jsonc_parser::errors::ParseError;
use jsonc_parser::tokens::Token;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Value};

use super::notation::{DocumentError, inline};
use crate::cli::client::supported_clients::ServerEntry;
use crate::cli::client::supported_clients::{Client, NAME};

/// What clients read, and no more: a text that they refuse is not for us to mend.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub fn tree(text: &str) -> Result<Value, DocumentError> {
    // A file that is empty, or holds comments only, is one without settings.
    Ok(parse(text)?.to_serde_value().unwrap_or_else(|| Value::Object(Map::new())))
}

pub fn with(client: Client, text: &str, shim: &str) -> Result<String, DocumentError> {
    let root = parse(text)?;
    let top = root.object_value_or_set();
    let entry = client.entry(shim);
    let Some(servers) = top.object_value(client.servers()) else {
        if let Some(null) = top.get(client.servers()) {
            null.set_value(CstInputValue::Object(vec![(NAME.to_owned(), value_of(&entry))]));
        } else if let Some(end) = one_line(text, &[])? {
            return Ok(end.insert(text, &format!("\"{}\": {{\"{NAME}\": {}}}", client.servers(), inline(&entry))));
        } else {
            top.append(client.servers(), CstInputValue::Object(vec![(NAME.to_owned(), value_of(&entry))]));
        }
        return Ok(root.to_string());
    };
    match servers.get(NAME) {
        None => {
            if let Some(end) = one_line(text, &[client.servers()])? {
                return Ok(end.insert(text, &format!("\"{NAME}\": {}", inline(&entry))));
            }
            servers.append(NAME, value_of(&entry));
        }
        Some(ours) => match ours.object_value().and_then(|entry: CstObject| entry.get(client.command())) {
            Some(command) => command.set_value(CstInputValue::String(shim.to_owned())),
            None => ours.set_value(value_of(&entry)),
        },
    }
    Ok(root.to_string())
}

pub fn without(client: Client, text: &str) -> Result<String, DocumentError> {
    let root = parse(text)?;
    let servers = root.object_value().and_then(|top| top.object_value(client.servers()));
    if let Some(ours) = servers.and_then(|servers| servers.get(NAME)) {
        ours.remove();
    }
    Ok(root.to_string())
}

fn parse(text: &str) -> Result<CstRootNode, DocumentError> {
    CstRootNode::parse(text, &OPTIONS).map_err(malformed)
}

fn malformed(error: ParseError) -> DocumentError {
    DocumentError::Malformed { line: error.line_display(), reason: error.kind().to_string() }
}

fn value_of(entry: &ServerEntry) -> CstInputValue {
    CstInputValue::Object(entry.iter().map(|(key, value)| ((*key).to_owned(), input(value))).collect())
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(value) => CstInputValue::Number(value.to_string()),
        Value::String(value) => CstInputValue::String(value.clone()),
        Value::Array(values) => CstInputValue::Array(values.iter().map(input).collect()),
        Value::Object(values) => {
            CstInputValue::Object(values.iter().map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}

/// The end of what an object holds that is written on one line, where the library would lay all of it out anew.
struct End {
    offset: usize,
    after_comma: bool,
}

impl End {
    fn insert(&self, text: &str, property: &str) -> String {
        let (before, after) = text.split_at(self.offset);
        if self.after_comma { format!("{before} {property},{after}") } else { format!("{before}, {property}{after}") }
    }
}

fn one_line(text: &str, path: &[&str]) -> Result<Option<End>, DocumentError> {
    let collect = CollectOptions { tokens: true, ..CollectOptions::default() };
    let parsed = parse_to_ast(text, &collect, &OPTIONS).map_err(malformed)?;
    let Some(Node::Object(top)) = &parsed.value else { return Ok(None) };
    let object: Option<&Object> = path.iter().try_fold(top, |object, name| object.get_object(name));
    let Some(object) = object else { return Ok(None) };
    let (Some(first), Some(last)) = (object.properties.first(), object.properties.last()) else { return Ok(None) };
    if text[object.range.start..first.range.start].contains('\n') {
        return Ok(None);
    }
    let comma = parsed.tokens.iter().flatten().find(|token| {
        matches!(token.token, Token::Comma) && (last.range.end..object.range.end).contains(&token.range.start)
    });
    Ok(Some(match comma {
        Some(comma) => End { offset: comma.range.end, after_comma: true },
        None => End { offset: last.range.end, after_comma: false },
    }))
}
