//! YAML, whose text no kept library edits: lines are put in and taken out where a parser says that they belong.

use std::ops::Range;

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Value};

use super::notation::{DocumentError, inline, newline};
use crate::cli::client::supported_clients::{Client, NAME};

type Node<'text> = MarkedYaml<'text>;

pub fn tree(text: &str) -> Result<Value, DocumentError> {
    Ok(match load(text)? {
        Some(root) if !is_null(&root) => value_of(&root),
        _ => Value::Object(Map::new()),
    })
}

pub fn with(client: Client, text: &str, shim: &str) -> Result<String, DocumentError> {
    let Some(root) = load(text)?.filter(|root| !is_null(root)) else {
        return Ok(appended(client, text, 0, shim));
    };
    if is_flow(text, &root) {
        return Err(DocumentError::Unfit("its whole content is in braces"));
    }
    let Some((key, servers)) = find(&root, client.servers()) else {
        return Ok(appended(client, text, root.span.start.col(), shim));
    };
    if let Some((_, entry)) = find(servers, NAME) {
        return match find(entry, client.command()) {
            Some((_, command)) => Ok(replaced(text, scalar_span(text, command), &scalar(&Value::from(shim)))),
            None => with(client, &without(client, text)?, shim),
        };
    }
    let first = children(servers).next().map(|(first, _)| first);
    match first {
        Some(_) if is_flow(text, servers) => {
            let place = offset(text, servers.span.start.index()) + 1;
            Ok(replaced(text, place..place, &format!("\"{NAME}\": {}, ", inline(&client.entry(shim)))))
        }
        Some(first) if first.span.start.line() > key.span.start.line() => {
            let place = line_end(text, key);
            Ok(replaced(text, place..place, &block(client, first.span.start.col(), shim, newline(text))))
        }
        Some(_) => Err(DocumentError::Unfit("a key and its first entry are on one line")),
        None => {
            // "extensions:" with nothing, or with what says that there is nothing.
            let colon = span(text, key).end + 1;
            let braces = usize::from(is_flow(text, servers));
            let cut = replaced(text, colon..(span(text, servers).end + braces).max(colon), "");
            let place = line_end(&cut, key);
            Ok(replaced(&cut, place..place, &block(client, key.span.start.col() + 2, shim, newline(text))))
        }
    }
}

pub fn without(client: Client, text: &str) -> Result<String, DocumentError> {
    let root = load(text)?;
    let Some((key, servers)) = root.as_ref().and_then(|root| find(root, client.servers())) else {
        return Ok(text.to_owned());
    };
    let Some((ours, _)) = find(servers, NAME) else { return Ok(text.to_owned()) };
    if is_flow(text, servers) {
        return Ok(replaced(text, flow_range(text, servers, ours), ""));
    }
    // An entry is its first line and all that are further in.
    let start = offset(text, ours.span.start.index()) - ours.span.start.col();
    let mut end = line_end(text, ours);
    let mut kept = end;
    for line in text[end..].split_inclusive('\n') {
        kept += line.len();
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        match content.trim_end() {
            "" => {}
            _ if indent > ours.span.start.col() => end = kept,
            _ => break,
        }
    }
    let mut edited = replaced(text, start..end, "");
    if children(servers).count() == 1 {
        let colon = span(text, key).end + 1;
        edited.insert_str(colon, " {}");
    }
    Ok(edited)
}

fn flow_range(text: &str, servers: &Node, ours: &Node) -> Range<usize> {
    let keys: Vec<&Node> = children(servers).map(|(key, _)| key).collect();
    let place = keys.iter().position(|key| key.span.start == ours.span.start).unwrap_or_default();
    let start = span(text, ours).start;
    match keys.get(place + 1) {
        Some(next) => start..span(text, next).start,
        None => text[..start].rfind(',').filter(|_| place > 0).unwrap_or(start)..span(text, servers).end,
    }
}

/// At the end of the text, where there is no table of servers yet.
fn appended(client: Client, text: &str, column: usize, shim: &str) -> String {
    let newline = newline(text);
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { newline };
    let indent = " ".repeat(column);
    format!("{text}{gap}{indent}{}:{newline}{}", client.servers(), block(client, column + 2, shim, newline))
}

fn block(client: Client, column: usize, shim: &str, newline: &str) -> String {
    let indent = " ".repeat(column);
    let fields: String =
        client.entry(shim).iter().map(|(key, value)| format!("{indent}  {key}: {}{newline}", scalar(value))).collect();
    format!("{indent}{NAME}:{newline}{fields}")
}

/// Plain where nothing in it could be taken for more than text.
fn scalar(value: &Value) -> String {
    let plain = |text: &str| {
        text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/')
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._- ,".contains(letter))
            && !["null", "true", "false", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str())
            && !text.ends_with(' ')
    };
    match value.as_str() {
        Some(text) if plain(text) => text.to_owned(),
        _ => value.to_string(),
    }
}

fn load(text: &str) -> Result<Option<Node<'_>>, DocumentError> {
    let mut documents = MarkedYaml::load_from_str(text)
        .map_err(|error| DocumentError::Malformed { line: error.marker().line(), reason: error.info().to_owned() })?;
    if documents.len() > 1 {
        return Err(DocumentError::Unfit("it holds several documents"));
    }
    Ok(documents.pop())
}

fn is_null(node: &Node) -> bool {
    matches!(node.data, YamlData::Value(Scalar::Null))
}

fn is_flow(text: &str, node: &Node) -> bool {
    matches!(node.data, YamlData::Mapping(_)) && text[offset(text, node.span.start.index())..].starts_with('{')
}

fn children<'a, 'text>(node: &'a Node<'text>) -> impl Iterator<Item = (&'a Node<'text>, &'a Node<'text>)> {
    let mapping = if let YamlData::Mapping(mapping) = &node.data { Some(mapping) } else { None };
    mapping.into_iter().flatten()
}

fn find<'a, 'text>(node: &'a Node<'text>, name: &str) -> Option<(&'a Node<'text>, &'a Node<'text>)> {
    children(node).find(|(key, _)| matches!(&key.data, YamlData::Value(Scalar::String(text)) if text == name))
}

/// Where a node is, in bytes; the parser counts characters.
fn span(text: &str, node: &Node) -> Range<usize> {
    offset(text, node.span.start.index())..offset(text, node.span.end.index())
}

/// The parser ends what is in quotes behind the comment that follows.
fn scalar_span(text: &str, node: &Node) -> Range<usize> {
    let Range { start, end } = span(text, node);
    let source = &text[start..end];
    let mut letters = source.char_indices().skip(1).peekable();
    let quote = source.chars().next().filter(|letter| "\"'".contains(*letter));
    while let Some((place, letter)) = letters.next() {
        let is_escaped = match quote {
            Some('"') => letter == '\\',
            _ => letter == '\'' && letters.peek().is_some_and(|(_, next)| *next == '\''),
        };
        if is_escaped {
            letters.next();
        } else if Some(letter) == quote {
            return start..start + place + 1;
        }
    }
    start..start + source.trim_end().len()
}

fn offset(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(offset, _)| offset)
}

/// Behind the line on which a node begins.
fn line_end(text: &str, node: &Node) -> usize {
    let start = offset(text, node.span.start.index());
    text[start..].find('\n').map_or(text.len(), |end| start + end + 1)
}

fn replaced(text: &str, range: Range<usize>, with: &str) -> String {
    let before = &text[..range.start];
    // The last line of a file need not have an end.
    let gap = if with.ends_with('\n') && !before.is_empty() && !before.ends_with('\n') { newline(text) } else { "" };
    format!("{before}{gap}{with}{}", &text[range.end..])
}

fn value_of(node: &Node) -> Value {
    match &node.data {
        YamlData::Value(Scalar::Null) => Value::Null,
        YamlData::Value(Scalar::Boolean(value)) => Value::from(*value),
        YamlData::Value(Scalar::Integer(value)) => Value::from(*value),
        YamlData::Value(Scalar::FloatingPoint(value)) => Value::from(**value),
        YamlData::Value(Scalar::String(value)) => Value::from(value.as_ref()),
        YamlData::Sequence(values) => values.iter().map(value_of).collect(),
        YamlData::Mapping(_) => {
            Value::Object(children(node).map(|(key, value)| (name_of(key), value_of(value))).collect())
        }
        YamlData::Tagged(tag, node) => Value::from(vec![Value::from(format!("{tag:?}")), value_of(node)]),
        // Aliases are compared, not understood.
        other => Value::from(format!("{other:?}")),
    }
}

fn name_of(key: &Node) -> String {
    match &key.data {
        YamlData::Value(Scalar::String(name)) => name.to_string(),
        other => format!("{other:?}"),
    }
}
