//! In each crate, imports go in one direction: there is no circle of modules.
//!
//! Each crate has a written order of its modules. **A module imports only from modules above it in the list.** That holds for `use`
//! items and for paths in the code (`crate::a::b()`), without tests. What is in the list is a file; a folder's own file and its children
//! are entries like any other. From that follows what holds in a folder:
//!
//! - A folder's file may use its children, or they may use its items, but not both. What both need is moved to a child of its own.
//! - A re-export (`pub use child::Item`) is no import, and whoever imports it imports from the file that defines the item. So a folder's
//!   file can show what its children define without using them. `pub use child::*` counts as an import.
//! - Declaring a module (`mod child;`) is no import.
//!
//! Binaries (`main.rs`) are not listed: nothing can import them.
//!
//! An exception names an import against the order that still has to go. One that is not needed any more makes the test fail.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "structure/modules.rs"]
mod modules;
#[path = "structure/orders.rs"]
mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use modules::{imports, name, sources};
use orders::{DAEMON, INTERPRETER, SHIM, ZYGOTE};

/// The order of a crate's modules, each with those that it may import above it.
pub struct Order {
    /// The root's file, from the workspace's root.
    root: &'static str,
    modules: &'static [&'static str],
    /// (importing module, imported module)
    exceptions: &'static [(&'static str, &'static str)],
}

/// What is against the order: a line each.
fn violations(sources: &BTreeMap<Vec<String>, String>, modules: &[&str], exceptions: &[(&str, &str)]) -> Vec<String> {
    let place = |module: &str| modules.iter().position(|listed| *listed == module);
    let existing: BTreeSet<String> = sources.keys().map(|path| name(path)).collect();
    let mut found = Vec::new();
    found.extend(existing.iter().filter(|it| place(it).is_none()).map(|it| format!("{it} is not in the list")));
    for (at, listed) in modules.iter().enumerate() {
        if !existing.contains(*listed) || place(listed) != Some(at) {
            found.push(format!("{listed} is in the list, and does not exist or is listed twice"));
        }
    }
    let against: BTreeSet<(String, String)> =
        imports(sources).into_iter().filter(|(from, to)| place(to) >= place(from)).collect();
    let is_exception = |(from, to): &(String, String)| exceptions.contains(&(from, to));
    found.extend(
        against
            .iter()
            .filter(|import| !is_exception(import))
            .map(|(from, to)| format!("{from} imports {to}, which stands below it")),
    );
    for (from, to) in exceptions {
        if !against.contains(&((*from).to_owned(), (*to).to_owned())) {
            found.push(format!("{from} does not import {to} against the order any more: delete the exception"));
        }
    }
    found
}

fn holds(order: &Order) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let found = violations(&sources(&workspace.join(order.root)), order.modules, order.exceptions);
    assert!(found.is_empty(), "{}:\n{}", order.root, found.join("\n"));
}

#[test]
fn the_shim_imports_in_one_direction() {
    holds(&SHIM);
}

#[test]
fn the_daemon_imports_in_one_direction() {
    holds(&DAEMON);
}

#[test]
fn the_interpreter_imports_in_one_direction() {
    holds(&INTERPRETER);
}

#[test]
fn the_zygote_imports_in_one_direction() {
    holds(&ZYGOTE);
}

/// Files of at most so many lines are read as a whole. A `main.rs` only starts what its library does.
#[test]
fn no_file_is_long() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<_> = ["shim", "daemon", "tests"].map(|folder| workspace.join(folder)).into();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let lines = std::fs::read_to_string(&path).unwrap().lines().count();
                let most = if path.ends_with("src/main.rs") { 60 } else { 400 };
                assert!(lines <= most, "{} has {lines} lines, more than {most}: split it by its nouns", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 300, "{seen} files");
}

/// The violations of an order in a small crate: (module, source).
fn violations_in(files: &[(&str, &str)], modules: &[&str], exceptions: &[(&str, &str)]) -> Vec<String> {
    let path = |module: &str| module.split("::").filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let sources = files.iter().map(|(module, source)| (path(module), (*source).to_owned())).collect();
    violations(&sources, modules, exceptions)
}

#[test]
fn an_import_against_the_order_is_found_however_it_is_written() {
    for source in [
        "use crate::top::Item;",
        "use super::top::{Item, self};",
        "use crate::{low as other, top::*};",
        "fn act() { crate::top::act() }",
        "fn act() -> super::top::Item { todo() }",
        "fn act() { println!(\"{}\", crate::top::TEXT) }",
        "fn act() { use crate::top::act; act() }",
        "struct Inside(Vec<crate::top::Item>);",
        "#[cfg(unix)] use crate::top::Item;",
    ] {
        let files = [("", "mod low; mod top;"), ("low", source), ("top", "")];
        assert!(violations_in(&files, &["top", "low", "crate"], &[]).is_empty(), "{source}");
        let expected = "low imports top, which stands below it";
        assert_eq!(violations_in(&files, &["low", "top", "crate"], &[]), [expected], "{source}");
        assert!(violations_in(&files, &["low", "top", "crate"], &[("low", "top")]).is_empty(), "{source}");
    }
}

#[test]
fn what_is_no_import_is_not_counted() {
    for source in [
        "#[cfg(test)] use crate::top::Item;",
        "#[cfg(all(test, unix))] mod tests { use crate::top::Item; }",
        "#[cfg(test)] mod tests;",
        "pub(in crate) fn act() {}",
        "use std::top::Item;",
        "use top::Item;",
        "/// See [`crate::top::Item`].\nfn act() {}",
        "use self::Item;",
    ] {
        let files = [("", "mod low; mod top;"), ("low", source), ("top", "")];
        assert!(violations_in(&files, &["low", "top", "crate"], &[]).is_empty(), "{source}");
    }
}

#[test]
fn a_folder_uses_its_children_or_they_use_it() {
    let order = ["folder::child", "folder::other", "folder", "crate"];
    let root = ("", "mod folder;");
    let in_folder = |folder: &str, child: &str, order: &[&str]| {
        let files = [root, ("folder", folder), ("folder::child", child), ("folder::other", "pub struct Item;")];
        violations_in(&files, order, &[])
    };
    let uses = "mod child; mod other; use child::act;";
    assert!(in_folder(uses, "pub fn act() {}", &order).is_empty());
    assert_eq!(in_folder(uses, "use super::Policy;", &order), ["folder::child imports folder, which stands below it"]);
    let below = ["folder", "folder::other", "folder::child", "crate"];
    assert_eq!(in_folder(uses, "use super::Policy;", &below), ["folder imports folder::child, which stands below it"]);
    for uses in ["act();", "println!(\"{}\", act());", "act(); println!();"] {
        let folder = format!("mod child; mod other; pub use child::act; fn go() {{ {uses} }}");
        assert_eq!(in_folder(&folder, "", &below), ["folder imports folder::child, which stands below it"], "{uses}");
    }
    let variable = "mod child; mod other; fn go(child: u8) { act(child); println!(\"{}\", child) }";
    assert!(in_folder(variable, "use super::Policy;", &below).is_empty(), "a local variable is no module");
    // A re-export is no import of the folder's file, and leads to the file that defines the item.
    let shows = "mod child; mod other; pub use child::act; pub use other::Item;";
    assert!(in_folder(shows, "use super::Policy;", &below).is_empty());
    assert_eq!(
        in_folder(shows, "use super::Item;", &["folder", "folder::child", "folder::other", "crate"]),
        ["folder::child imports folder::other, which stands below it"]
    );
}

#[test]
fn the_lists_are_complete_and_exceptions_are_needed() {
    let files = [("", "mod low;"), ("low", "")];
    assert_eq!(violations_in(&files, &["crate"], &[]), ["low is not in the list"]);
    let gone = "gone is in the list, and does not exist or is listed twice";
    assert_eq!(violations_in(&files, &["low", "gone", "crate"], &[]), [gone]);
    let stale = "low does not import crate against the order any more: delete the exception";
    assert_eq!(violations_in(&files, &["low", "crate"], &[("low", "crate")]), [stale]);
}
