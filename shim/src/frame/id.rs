//! The id of a JSON-RPC request, as a value: `"a\/1"` and `"a/1"` are one id, `1` and `"1"` are two. Shim and daemon bound and compare ids
//! only here.

use std::{fmt::Write as _, str};

/// A valid id of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    Number(i64),
    /// At most [`Id::MAX_BYTES`] long.
    String(String),
}

impl Id {
    /// The longest string, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 1024;
    /// The longest JSON text of such a string: every byte written as `\u00xx`, and two quotes.
    pub(super) const MAX_JSON_BYTES: usize = 6 * Self::MAX_BYTES + 2;

    /// `None` for anything but an integer of 64 bits or a string within the bound.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(inner) => unescaped(inner).filter(|text| text.len() <= Self::MAX_BYTES).map(Self::String),
            None if is_integer(text.as_bytes()) => text.parse().ok().map(Self::Number),
            None => None,
        }
    }

    pub fn to_json(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::String(text) => quoted(text),
        }
    }
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..' ' => {
                // Writing to a String does not fail.
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
    json
}

/// `-0` is refused: most parsers take it for a float.
fn is_integer(text: &[u8]) -> bool {
    match text.strip_prefix(b"-").unwrap_or(text) {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Unescapes the inside of a JSON string; `None` if it is not JSON. Half a surrogate pair becomes U+FFFD.
fn unescaped(inner: &str) -> Option<String> {
    let mut plain = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(character) = rest.next() {
        plain.push(match character {
            '\0'..' ' | '"' => return None,
            '\\' => match rest.next()? {
                escaped @ ('"' | '\\' | '/') => escaped,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => unit(&mut rest).map(|first| whole(first, &mut rest))?,
                _ => return None,
            },
            character => character,
        });
    }
    Some(plain)
}

/// The four hexadecimal digits of a `\u` escape.
fn unit(rest: &mut str::Chars<'_>) -> Option<u16> {
    let digits = rest.as_str().get(..4)?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let unit = u16::from_str_radix(digits, 16).ok()?;
    *rest = rest.as_str()[4..].chars();
    Some(unit)
}

/// The character that starts with the UTF-16 unit `first`.
fn whole(first: u16, rest: &mut str::Chars<'_>) -> char {
    let mut after = rest.clone();
    let second = match (after.next(), after.next()) {
        (Some('\\'), Some('u')) => unit(&mut after),
        _ => None,
    };
    match char::decode_utf16([first].into_iter().chain(second)).next() {
        Some(Ok(character)) => {
            if character.len_utf16() == 2 {
                *rest = after;
            }
            character
        }
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<Id> {
        Id::from_json(text.as_bytes())
    }

    #[test]
    fn an_id_is_its_value_however_it_is_written() {
        for text in [r#""a\/1""#, r#""é\u00e9""#, r#""\ud83d\ude00""#, r#""\b\f\n\r\t\"\\""#, "-12", "0"] {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let found = id(text).unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&found.to_json()).unwrap(), value, "{text}");
            assert_eq!(id(&found.to_json()), Some(found), "{text}");
        }
        assert_eq!(id(r#""a\/1""#), id(r#""a/1""#));
        assert_ne!(id("1"), id("\"1\""));
        assert_eq!(id(r#""\ud83dx""#), Some(Id::String("\u{fffd}x".to_owned())));
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in ["", "1.5", "1e3", "-0", "01", "-", "null", "\"", "\"\n\"", r#""\x""#, r#""\u12""#, r#""\u+123""#] {
            assert_eq!(id(text), None, "{text}");
        }
        assert_eq!(id("9223372036854775808"), None, "more than 64 bits");
    }

    #[test]
    fn the_bound_counts_the_value_and_not_its_escapes() {
        let escaped = |count: usize| format!("\"{}\"", "\\u0041".repeat(count));
        assert_eq!(escaped(Id::MAX_BYTES).len(), Id::MAX_JSON_BYTES);
        assert!(id(&escaped(Id::MAX_BYTES)).is_some());
        assert_eq!(id(&escaped(Id::MAX_BYTES + 1)), None);
    }
}
