//! Compares the scanner with serde_json, and with itself when the bytes come one at a time.

use serde_json::Value;

use super::*;

fn scanned(frame: &[u8], piece: usize) -> (Option<String>, Option<String>) {
    let mut scanner = Scanner::default();
    frame.chunks(piece.max(1)).for_each(|bytes| scanner.push(bytes));
    let id = scanner.id().map(Id::to_json);
    (id, scanner.method().map(str::to_owned))
}

const WELL_FORMED: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"id":2,"method":"inner"}}"#,
    r#"{"method":"tools/call","params":{"a":[{"id":9},["method"]],"b":"}],\"id\":5"},"jsonrpc":"2.0","id":17}"#,
    r#"{"id":"a \"quoted\" \\ id\u00e9","method":"ping"}"#,
    "  {\t\"id\" :\r\n -12 , \"method\" : \"x\" }  ",
    r#"{"id":1,"id":2,"method":"a","method":"b"}"#,
    r#"{"id":1,"id":null}"#,
    r#"{"id":1,"id":{"id":3}}"#,
    r#"{"method":"a","method":7}"#,
    r#"{"id":1.5}"#,
    r#"{"id":1e3}"#,
    r#"{"id":-0}"#,
    r#"{"id":0}"#,
    r#"{"id":true,"method":["m"]}"#,
    r#"{"id":[],"method":{}}"#,
    r#"{"idx":1,"i":2,"methods":"m","ID":3,"":4}"#,
    r#"{"params":"id","result":"method","x":"{\"id\":1}"}"#,
    r#"{"method":"tools\/call","id":"\/"}"#,
    r#"{"method":"übersicht","id":"日本"}"#,
    r#"{"x":"\\","id":8,"y":"\\\"","method":"m"}"#,
    r#"{"x":[[[[{"id":1}]]]],"id":4}"#,
    r#"[{"id":1,"method":"m"}]"#,
    r#"{}"#,
    r#""id""#,
    "12",
];

#[test]
fn finds_what_a_json_parser_finds() {
    for frame in WELL_FORMED {
        let parsed: Value = serde_json::from_str(frame).unwrap();
        let id = parsed.get("id").filter(|id| id.is_string() || id.is_i64() || id.is_u64());
        let method = parsed.get("method").and_then(Value::as_str).map(str::to_owned);
        let (found_id, found_method) = scanned(frame.as_bytes(), frame.len());
        let found_id: Option<Value> = found_id.map(|text| serde_json::from_str(&text).unwrap());
        assert_eq!(found_id.as_ref(), id, "id of {frame}");
        assert_eq!(found_method, method, "method of {frame}");
    }
}

#[test]
fn byte_by_byte_finds_the_same_as_whole() {
    for frame in WELL_FORMED.iter().chain(CUT_SHORT.iter().map(|(frame, ..)| frame)) {
        for piece in [1, 2, 3, 7] {
            assert_eq!(scanned(frame.as_bytes(), piece), scanned(frame.as_bytes(), frame.len()), "{frame} by {piece}");
        }
    }
}

/// Frames that do not parse, with what can still be found in them.
const CUT_SHORT: &[(&str, Option<&str>, Option<&str>)] = &[
    (r#"{"id":7,"method":"m","params":{"a":"#, Some("7"), Some("m")),
    (r#"{"id":7"#, None, None),
    (r#"{"id":"7"#, None, None),
    (r#"{"id":"7""#, Some(r#""7""#), None),
    (r#"{"id":007,"method":"m"}"#, None, Some("m")),
    (r#"{"id":7 8,"method":"m"}"#, Some("7"), None),
    (r#"{"id":"\x","method":"m"}"#, None, Some("m")),
    (r#"{"id":"\u12","method":"m"}"#, None, Some("m")),
    ("{\"id\":\"a\tb\",\"method\":\"m\"}", None, Some("m")),
    (r#"{"id":,"method":"m"}"#, None, None),
    (r#"{id:1,"method":"m"}"#, None, None),
    (r#"{"\u0069d":1}"#, None, None),
    (r#"{"params":{"x":nonsense],"id":3,"method":"m"}"#, Some("3"), Some("m")),
    (r#"{"a":1]"id":3}"#, None, None),
    ("", None, None),
];

#[test]
fn a_broken_frame_keeps_what_was_complete() {
    for (frame, id, method) in CUT_SHORT {
        let found = scanned(frame.as_bytes(), 1);
        assert_eq!((found.0.as_deref(), found.1.as_deref()), (*id, *method), "{frame}");
    }
}

#[test]
fn an_id_or_method_past_its_bound_is_not_kept() {
    for (inner, kept) in [(Id::MAX_BYTES, true), (Id::MAX_BYTES + 1, false)] {
        let frame = format!(r#"{{"id":"{}","method":"m"}}"#, "x".repeat(inner));
        let (id, method) = scanned(frame.as_bytes(), 5);
        assert_eq!((id.is_some(), method.as_deref()), (kept, Some("m")));
    }
    for (length, kept) in [(128, true), (129, false)] {
        let frame = format!(r#"{{"method":"{}","id":1}}"#, "x".repeat(length));
        let (id, method) = scanned(frame.as_bytes(), 5);
        assert_eq!((method.is_some(), id.as_deref()), (kept, Some("1")));
    }
}

#[test]
fn an_id_after_huge_parameters_is_found_without_keeping_them() {
    let mut scanner = Scanner::default();
    scanner.push(br#"{"method":"tools/call","params":{"code":""#);
    (0..64).for_each(|_| scanner.push(&[b'x'; 65536]));
    scanner.push(br#""},"jsonrpc":"2.0","id":99}"#);
    assert_eq!(scanner.id(), Some(&Id::Number(99)));
    assert_eq!(scanner.method(), Some("tools/call"));
    assert!(scanner.text.bytes.capacity() <= 2 * METHOD_BYTES);
}

#[test]
fn bytes_that_are_not_utf_8_are_no_id() {
    let (id, method) = scanned(b"{\"x\":\"\xff\",\"id\":\"\xff\",\"method\":\"m\"}", 1);
    assert_eq!((id, method.as_deref()), (None, Some("m")));
}
