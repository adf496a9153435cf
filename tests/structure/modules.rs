//! The modules of a crate, and which of them imports which, read from its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, File, ImplItem, Item, ItemMod, ItemUse, Meta, UseTree, Visibility};

/// What the root of a crate is called.
pub const ROOT: &str = "crate";

type Segments = Vec<String>;

/// One module as it is written.
#[derive(Default)]
struct Module {
    children: BTreeSet<String>,
    /// Paths in `use` items, and paths in the code that may lead to a module.
    paths: Vec<Segments>,
    /// Names made public by `pub use` → what they stand for.
    re_exports: BTreeMap<String, Segments>,
}

/// Imports of a crate: (importing module, module that defines what it imports), both as `a::b`.
pub fn imports(sources: &BTreeMap<Segments, String>) -> BTreeSet<(String, String)> {
    let read = |text: &String| {
        let mut module = Module::default();
        let file: File = syn::parse_file(text).unwrap();
        module.visit_file(&file);
        module
    };
    let modules: BTreeMap<&Segments, Module> = sources.iter().map(|(path, text)| (path, read(text))).collect();
    let mut found = BTreeSet::new();
    for (from, module) in &modules {
        for to in module.paths.iter().filter_map(|path| resolve(&modules, from, path, 0)) {
            if to != **from {
                found.insert((name(from), name(&to)));
            }
        }
    }
    found
}

/// `a::b`, or [`ROOT`].
pub fn name(path: &[String]) -> String {
    if path.is_empty() { ROOT.to_owned() } else { path.join("::") }
}

/// The module that defines what `path` leads to from the module `from`. `None` if that lies outside of the crate.
fn resolve(modules: &BTreeMap<&Segments, Module>, from: &Segments, path: &[String], depth: usize) -> Option<Segments> {
    let is_module = |path: &Segments| modules.contains_key(path);
    let mut rest = path.iter().peekable();
    let mut place: Segments = match rest.peek()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => from.clone(),
        // A single name may be a local variable.
        first if path.len() > 1 && modules[from].children.contains(first) => from.clone(),
        // The file itself uses what it re-exports.
        first if depth == 0 && modules[from].re_exports.contains_key(first) => from.clone(),
        _ => return None,
    };
    while let Some(segment) = rest.peek() {
        let below: Segments = place.iter().chain([*segment]).cloned().collect();
        match segment.as_str() {
            "crate" | "self" => {}
            "super" => drop(place.pop()),
            _ if is_module(&below) => place = below,
            _ => break,
        }
        rest.next();
    }
    // A re-export is followed to where the item is defined. The bound only guards against a circle of re-exports.
    match rest.peek().and_then(|name| modules[&place].re_exports.get(*name)) {
        Some(target) if depth < 8 => resolve(modules, &place, target, depth + 1).or(Some(place)),
        _ => Some(place),
    }
}

impl Visit<'_> for Module {
    fn visit_item(&mut self, item: &Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &ImplItem) {
        let test = matches!(item, ImplItem::Fn(function) if is_test(&function.attrs));
        if !test {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &ItemMod) {
        assert!(item.content.is_none(), "{}: only test modules are written inside of a file", item.ident);
        self.children.insert(item.ident.to_string());
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for (path, alias) in leaves {
            match alias {
                Some(alias) if !matches!(item.vis, Visibility::Inherited) => {
                    self.re_exports.insert(alias, path);
                }
                _ => self.paths.push(path),
            }
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// `pub(super)` and `pub(in …)` import nothing.
    fn visit_vis_restricted(&mut self, _: &syn::VisRestricted) {}

    fn visit_attribute(&mut self, _: &Attribute) {}

    fn visit_macro(&mut self, macro_call: &syn::Macro) {
        paths_in_tokens(macro_call.tokens.clone(), &mut self.paths);
        visit::visit_macro(self, macro_call);
    }
}

/// The arguments of a macro are not parsed: every `a::b` in them counts as a path.
fn paths_in_tokens(tokens: TokenStream, paths: &mut Vec<Segments>) {
    let mut found: Vec<Segments> = vec![Vec::new()];
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Ident(ident) => {
                match found.last_mut() {
                    Some(path) if colons == 2 => path.push(ident.to_string()),
                    _ => found.push(vec![ident.to_string()]),
                }
                colons = 0;
            }
            other => {
                if let TokenTree::Group(group) = other {
                    paths_in_tokens(group.stream(), paths);
                }
                found.push(Vec::new());
                colons = 0;
            }
        }
    }
    paths.extend(found.into_iter().filter(|path| !path.is_empty()));
}

/// The paths of a `use`, each with the name that it gives; without a name for `*`.
fn flatten(tree: &UseTree, path: &mut Segments, leaves: &mut Vec<(Segments, Option<String>)>) {
    let with = |last: &syn::Ident| path.iter().cloned().chain([last.to_string()]).collect::<Segments>();
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            flatten(&inner.tree, path, leaves);
            path.pop();
        }
        UseTree::Name(leaf) => leaves.push((with(&leaf.ident), Some(leaf.ident.to_string()))),
        UseTree::Rename(leaf) => leaves.push((with(&leaf.ident), Some(leaf.rename.to_string()))),
        UseTree::Glob(_) => leaves.push((path.clone(), None)),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, path, leaves)),
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]` and `#[cfg(all(test, …))]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition: String = list.tokens.to_string().split_whitespace().collect();
            condition == "test" || condition.starts_with("all(test,")
        }
        _ => false,
    })
}

/// The sources of all modules but tests, by module path, starting from the root's file.
pub fn sources(root: &Path) -> BTreeMap<Segments, String> {
    let mut found = BTreeMap::new();
    read(root, root.parent().unwrap(), Vec::new(), &mut found);
    found
}

/// `below` is the folder of the file's child modules.
fn read(file: &Path, below: &Path, path: Segments, found: &mut BTreeMap<Segments, String>) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    for item in syn::parse_file(&text).unwrap().items {
        let Item::Mod(item) = item else { continue };
        if is_test(&item.attrs) {
            continue;
        }
        let child = item.ident.to_string();
        let given = item.attrs.iter().find_map(given_path).map(|path| file.parent().unwrap().join(path));
        let places = [given, Some(below.join(format!("{child}.rs"))), Some(below.join(&child).join("mod.rs"))];
        let place: PathBuf = places.into_iter().flatten().find(|place| place.exists()).unwrap();
        let path = path.iter().cloned().chain([child.clone()]).collect();
        read(&place, &below.join(child), path, found);
    }
    found.insert(path, text);
}

/// The value of `#[path = "…"]`.
fn given_path(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else { return None };
    pair.path.is_ident("path").then(|| text.value())
}
