//! Finds the top-level `id` and `method` of one JSON frame as its bytes pass, wherever they stand and however long the
//! rest is. Leaves out checking the rest: it is for frames too long to hold, or not parseable, that still want an answer.

use std::{mem, str};

const ID_BYTES: usize = 256;
const METHOD_BYTES: usize = 128;
/// The longer of the two keys; a key that exceeds it is neither.
const KEY_BYTES: usize = "method".len();

/// Reads one frame piece by piece. A second `id` or `method` replaces the first, as JSON parsers do.
#[derive(Debug, Default)]
pub struct Scanner {
    place: Place,
    /// Open brackets below the top-level value that is being passed over.
    depth: usize,
    in_string: bool,
    escaped: bool,
    member: Member,
    text: Text,
    id: Option<Vec<u8>>,
    method: Option<String>,
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
    /// The object has ended, or is none, or is broken: what was found before stays.
    Over,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    Id,
    Method,
}

/// Bytes kept up to a bound; past it there are none.
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
            rest = after;
            self.step(byte);
            if self.place == Place::Over {
                return;
            }
            if self.passes_over_text() {
                // Inside a string only its end and an escape matter: a source text of megabytes is skipped in runs.
                let run = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
                rest = &rest[run..];
            }
        }
    }

    /// The id's JSON text (a string with its quotes, or an integer), if it was complete and at most 256 bytes.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// The method, if it was a complete string of at most 128 bytes without `\u` or control escapes.
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    fn passes_over_text(&self) -> bool {
        let skipped = self.place == Place::InNested || self.place == Place::InString && self.member == Member::Other;
        skipped && self.in_string && !self.escaped
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
            Place::InNested => self.step_nested(byte),
            Place::InScalar if blank || matches!(byte, b',' | b'}') => {
                self.end_value();
                self.step(byte);
            }
            Place::InScalar => self.keep(byte),
            Place::AfterValue => self.place = if byte == b',' { Place::BeforeKey } else { Place::Over },
            Place::Over => {}
        }
    }

    /// An escape makes the key longer than it reads, and so never one of ours.
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
            Member::Method => self.method = None,
            Member::Other => {}
        }
        self.text.clear();
        match byte {
            b'"' => {
                self.place = Place::InString;
                self.in_string = true;
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
        if self.ends_string(byte) {
            self.end_value();
        }
    }

    fn step_nested(&mut self, byte: u8) {
        if self.in_string {
            self.ends_string(byte);
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.place = Place::AfterValue;
                }
            }
            _ => {}
        }
    }

    fn ends_string(&mut self, byte: u8) -> bool {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
        }
        !self.in_string
    }

    fn keep(&mut self, byte: u8) {
        match self.member {
            Member::Other => {}
            Member::Id => self.text.push(byte, ID_BYTES),
            Member::Method => self.text.push(byte, METHOD_BYTES + "\"\"".len()),
        }
    }

    fn end_value(&mut self) {
        self.place = Place::AfterValue;
        match self.member {
            Member::Other => {}
            Member::Id => self.id = self.text.take().filter(|text| is_integer(text) || is_string(text)),
            Member::Method => self.method = self.text.take().and_then(|text| plain_string(&text)),
        }
    }
}

/// `-0` is left out: it is a float to most parsers.
fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether the text can be put into an answer as it is: quoted UTF-8 with known escapes and no bare control characters.
fn is_string(text: &[u8]) -> bool {
    let Some(inner) = unquoted(text) else { return false };
    let mut rest = inner.bytes();
    while let Some(byte) = rest.next() {
        let sound = match byte {
            0..0x20 => false,
            b'\\' => match rest.next() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
                Some(b'u') => (0..4).all(|_| rest.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
                _ => false,
            },
            _ => true,
        };
        if !sound {
            return false;
        }
    }
    true
}

/// Some writers escape every slash, and methods have slashes; escapes that no method needs are not undone.
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
