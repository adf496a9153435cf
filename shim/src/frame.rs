//! Finds the top-level `id` and `method` of a JSON frame while its bytes pass. It checks nothing else: it also serves frames that are too
//! long to hold or not valid JSON, which still need an answer.

mod id;

use std::{mem, str};

pub use id::{Id, quoted};

const METHOD_BYTES: usize = 128;
/// The length of the longer key. A longer one is neither of them.
const KEY_BYTES: usize = "method".len();

/// Scans one frame in pieces. A second `id` or `method` replaces the first, as in JSON parsers.
#[derive(Debug, Default)]
pub struct Scanner {
    place: Place,
    /// The depth of the nested value that is being skipped.
    depth: usize,
    /// Inside a string of that value.
    in_string: bool,
    /// After a backslash in any string.
    escaped: bool,
    member: Member,
    text: Text,
    id: Option<Id>,
    method: Option<String>,
    has_method: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeObject,
    BeforeKey,
    InKey,
    AfterKey,
    BeforeValue,
    InString,
    InScalar,
    InNested,
    AfterValue,
    /// The object has ended or is broken. What was found before stays.
    Over,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    Id,
    Method,
}

/// Bytes up to a bound; none if there are more.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl Text {
    fn clear(&mut self) {
        self.bytes.clear();
        self.overflowed = false;
    }

    fn push(&mut self, byte: u8, limit: usize) {
        if self.bytes.len() < limit {
            self.bytes.push(byte);
        } else {
            self.overflowed = true;
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let overflowed = mem::take(&mut self.overflowed);
        let bytes = mem::take(&mut self.bytes);
        (!overflowed).then_some(bytes)
    }
}

impl Scanner {
    /// The next bytes of the same frame.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.place {
                Place::Over => return,
                // Nearly all bytes are in nested values, where few bytes matter.
                Place::InNested => self.pass_over_nested(rest),
                Place::InString if self.member == Member::Other => self.pass_over_string(rest),
                _ => {
                    self.step(byte);
                    after
                }
            };
        }
    }

    /// The id, if it is complete and valid for a request.
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// The method, if it is a complete string of at most 128 bytes without `\u` or control escapes.
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// Whether there is a method, even one that [`Self::method`] does not return. Answers have none.
    pub fn has_method(&self) -> bool {
        self.has_method
    }

    /// Skips the rest of a string; returns what follows.
    fn pass_over_string<'bytes>(&mut self, bytes: &'bytes [u8]) -> &'bytes [u8] {
        match string_end(bytes, &mut self.escaped) {
            Some(end) => {
                self.end_value();
                &bytes[end..]
            }
            None => &[],
        }
    }

    /// Skips the rest of an array or object; returns what follows.
    fn pass_over_nested<'bytes>(&mut self, bytes: &'bytes [u8]) -> &'bytes [u8] {
        let mut rest = bytes;
        loop {
            if self.in_string {
                let Some(end) = string_end(rest, &mut self.escaped) else { return &[] };
                self.in_string = false;
                rest = &rest[end..];
            }
            let matters = |byte: &u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']');
            let Some(position) = rest.iter().position(matters) else { return &[] };
            match rest[position] {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                _ => self.depth -= 1,
            }
            rest = &rest[position + 1..];
            if self.depth == 0 {
                self.place = Place::AfterValue;
                return rest;
            }
        }
    }

    fn step(&mut self, byte: u8) {
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.place {
            Place::BeforeObject | Place::BeforeKey | Place::AfterKey | Place::BeforeValue | Place::AfterValue
                if blank => {}
            Place::BeforeObject => self.place = if byte == b'{' { Place::BeforeKey } else { Place::Over },
            Place::BeforeKey => self.place = if byte == b'"' { Place::InKey } else { Place::Over },
            Place::InKey => self.step_key(byte),
            Place::AfterKey => self.place = if byte == b':' { Place::BeforeValue } else { Place::Over },
            Place::BeforeValue => self.begin_value(byte),
            Place::InString => self.step_string(byte),
            Place::InScalar if blank || matches!(byte, b',' | b'}') => {
                self.end_value();
                self.step(byte);
            }
            Place::InScalar => self.keep(byte),
            Place::AfterValue => self.place = if byte == b',' { Place::BeforeKey } else { Place::Over },
            // Skipped in runs.
            Place::InNested | Place::Over => {}
        }
    }

    /// An escape makes the key too long to be one of the two.
    fn step_key(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
            self.text.overflowed = true;
        } else if byte == b'"' {
            self.member = match self.text.take().as_deref() {
                Some(b"id") => Member::Id,
                Some(b"method") => Member::Method,
                _ => Member::Other,
            };
            self.place = Place::AfterKey;
        } else {
            self.text.push(byte, KEY_BYTES);
        }
    }

    fn begin_value(&mut self, byte: u8) {
        match self.member {
            Member::Id => self.id = None,
            Member::Method => (self.method, self.has_method) = (None, true),
            Member::Other => {}
        }
        self.text.clear();
        match byte {
            b'"' => {
                self.place = Place::InString;
                self.keep(byte);
            }
            b'{' | b'[' => {
                self.place = Place::InNested;
                self.depth = 1;
            }
            b',' | b'}' | b']' | b':' => self.place = Place::Over,
            _ => {
                self.place = Place::InScalar;
                self.keep(byte);
            }
        }
    }

    fn step_string(&mut self, byte: u8) {
        self.keep(byte);
        if string_end(&[byte], &mut self.escaped).is_some() {
            self.end_value();
        }
    }

    fn keep(&mut self, byte: u8) {
        match self.member {
            Member::Other => {}
            Member::Id => self.text.push(byte, Id::MAX_JSON_BYTES),
            Member::Method => self.text.push(byte, METHOD_BYTES + "\"\"".len()),
        }
    }

    fn end_value(&mut self) {
        self.place = Place::AfterValue;
        match self.member {
            Member::Other => {}
            Member::Id => self.id = self.text.take().and_then(|text| Id::from_json(&text)),
            Member::Method => self.method = self.text.take().and_then(|text| plain_string(&text)),
        }
    }
}

/// The number of bytes up to and including the quote that ends the current string; none if it does not end here.
fn string_end(bytes: &[u8], escaped: &mut bool) -> Option<usize> {
    let mut start = usize::from(mem::take(escaped));
    loop {
        let position = start + bytes.get(start..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if bytes[position] == b'"' {
            return Some(position + 1);
        }
        start = position + 2;
        *escaped = start > bytes.len();
    }
}

/// Unescapes slashes, which some writers escape and methods contain. No method needs another escape.
fn plain_string(text: &[u8]) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = unquoted(text)?.chars();
    while let Some(character) = rest.next() {
        plain.push(match character {
            '\\' => rest.next().filter(|escaped| matches!(escaped, '/' | '"' | '\\'))?,
            '\0'..' ' => return None,
            _ => character,
        });
    }
    Some(plain)
}

fn unquoted(text: &[u8]) -> Option<&str> {
    str::from_utf8(text.strip_prefix(b"\"")?.strip_suffix(b"\"")?).ok()
}

#[cfg(test)]
mod tests;
