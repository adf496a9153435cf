//! Finds the names of modules in a program's text. It reads lines that look like imports, and does not parse Python: a wrong name is one that
//! no installed module has.

use std::collections::BTreeSet;

/// Longest part of a text that is read, in bytes.
const LONGEST_TEXT: usize = 128 * 1024;
/// Longest statement, in bytes: one in parentheses may have several lines.
const LONGEST_STATEMENT: usize = 4096;
/// Most names taken from one program.
const MOST_NAMES: usize = 64;
/// Longest dotted name, in bytes.
const LONGEST_NAME: usize = 96;
/// Most parts of a dotted name.
const MOST_PARTS: usize = 6;

/// The dotted names that a program imports. Of `from a.b import c` these are `a.b` and `a.b.c`, which may be no module.
pub fn imports(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut lines = beginning(text).lines();
    while let Some(line) = lines.next() {
        if !may_import(line.trim_start()) {
            continue;
        }
        let mut statement = without_comment(line).to_owned();
        while is_open(&statement)
            && statement.len() < LONGEST_STATEMENT
            && let Some(next) = lines.next()
        {
            statement.truncate(statement.trim_end_matches('\\').len());
            statement.push(' ');
            statement.push_str(without_comment(next));
        }
        for part in statement.split(';') {
            for name in of_statement(part.trim()).into_iter().flatten() {
                if names.len() == MOST_NAMES {
                    return names;
                }
                names.insert(name);
            }
        }
    }
    names
}

/// Whether `name` is a dotted name of ordinary length. Letters are those of ASCII.
pub fn is_module_name(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
    };
    name.len() <= LONGEST_NAME && name.split('.').count() <= MOST_PARTS && name.split('.').all(is_part)
}

/// The name of the package, or of the module itself.
pub fn package_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn beginning(text: &str) -> &str {
    let end = (0..=LONGEST_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn may_import(line: &str) -> bool {
    ["import ", "from ", "import\t", "from\t"].iter().any(|keyword| line.starts_with(keyword))
        || line.contains("; import ")
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// Whether the statement goes on in the next line.
fn is_open(statement: &str) -> bool {
    statement.ends_with('\\') || (statement.contains('(') && !statement.contains(')'))
}

/// `None` if the statement is no import of modules.
fn of_statement(statement: &str) -> Option<Vec<String>> {
    if let Some(list) = keyword(statement, "import") {
        return Some(items(list).filter(|name| is_module_name(name)).map(str::to_owned).collect());
    }
    let (module, list) = keyword(statement, "from")?.split_once(|letter: char| letter.is_ascii_whitespace())?;
    let list = keyword(list.trim_start(), "import")?;
    if !is_module_name(module) || module == "__future__" {
        return None;
    }
    let members = items(list.trim_matches(['(', ')', ' '])).map(|name| format!("{module}.{name}"));
    Some([module.to_owned()].into_iter().chain(members.filter(|name| is_module_name(name))).collect())
}

/// What follows the keyword.
fn keyword<'a>(statement: &'a str, keyword: &str) -> Option<&'a str> {
    let rest = statement.strip_prefix(keyword)?;
    rest.starts_with([' ', '\t', '(']).then(|| rest.trim_start())
}

/// The names of a list such as `a, b as c`.
fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter_map(|item| {
        let mut words = item.split_ascii_whitespace();
        let name = words.next()?;
        match (words.next(), words.next(), words.next()) {
            (None, ..) | (Some("as"), Some(_), None) => Some(name),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_TEXT, MOST_NAMES, imports, is_module_name};

    fn found(text: &str) -> Vec<String> {
        imports(text).into_iter().collect()
    }

    #[test]
    fn names_are_found_however_they_are_imported() {
        for (text, names) in [
            ("import numpy", vec!["numpy"]),
            ("import numpy as np, os.path # and more", vec!["numpy", "os.path"]),
            ("    import a.b as c ,d", vec!["a.b", "d"]),
            ("\timport\ta", vec!["a"]),
            ("from a.b import c", vec!["a.b", "a.b.c"]),
            ("from a import (b as x,\n  c, # of it\n)\nimport d", vec!["a", "a.b", "a.c", "d"]),
            ("from a import b, \\\n    c", vec!["a", "a.b", "a.c"]),
            ("from a import *", vec!["a"]),
            ("import a; import b", vec!["a", "b"]),
            ("x = 1; import b", vec!["b"]),
            ("def f():\n  import a\r\n  return a\r\n", vec!["a"]),
        ] {
            assert_eq!(found(text), names, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_modules_name_is_not_found() {
        for text in [
            "",
            "# import a",
            "important = 1",
            "print('import a')",
            "import os; evil()\u{0}",
            "from . import a",
            "from .a import b",
            "from __future__ import annotations",
            "import ..",
            "import a..b",
            "import /etc/passwd",
            "import a-b",
            "import 1a",
            "import a b",
            "import \u{e9}t\u{e9}",
            "from a imports b",
            "import",
            "from",
            "from a",
        ] {
            let found = found(text);
            assert!(found.is_empty() || found == ["os"], "{text:?}: {found:?}");
        }
        assert!(!is_module_name(&"a".repeat(97)) && !is_module_name("a.b.c.d.e.f.g") && !is_module_name(""));
    }

    #[test]
    fn a_text_costs_no_more_than_its_beginning() {
        let many: String = (0..5000).map(|number| format!("import m{number}\n")).collect();
        assert_eq!(imports(&many).len(), MOST_NAMES);
        let late = format!("{}\nimport late", "é".repeat(LONGEST_TEXT / 2));
        assert!(imports(&late).is_empty());
        let open = format!("from a import (\n{}", "b,\n".repeat(100_000));
        assert_eq!(found(&open), ["a", "a.b"]);
        assert_eq!(found(&format!("import {}", "a".repeat(5000))), Vec::<String>::new());
    }
}
