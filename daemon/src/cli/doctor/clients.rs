//! Whether the configurations of the installed AI clients name the shim.

use std::path::Path;

use super::finding::Finding;
use crate::cli::client::{EntryState, Found, found, shim};

const NAME: &str = "client";

pub fn look(tell: &mut impl FnMut(Finding)) {
    let shim = match shim() {
        Ok(shim) => shim,
        Err(error) => return tell(Finding::failed("shim", format!("{error:#}"))),
    };
    match found(&shim) {
        Err(error) => tell(Finding::failed(NAME, format!("{error:#}"))),
        Ok(found) if found.is_empty() => tell(Finding::ok(NAME, "none of the known ones has a configuration here")),
        Ok(found) => found.iter().map(one).for_each(tell),
    }
}

fn one(found: &Found) -> Finding {
    let (title, name) = (found.client.title(), found.client.name());
    let add = format!("`python-interpreter-mcpd client add {name}`");
    let file = found.file.display();
    match &found.state {
        EntryState::Right => Finding::ok(NAME, format!("{title} has it, in {file}")),
        EntryState::Missing | EntryState::NoFile => Finding::note(NAME, format!("{title} does not have it yet: {add}")),
        EntryState::Another(program) if Path::new(program).exists() => {
            Finding::note(NAME, format!("{title} starts {program}, in {file}: to have it start this one, {add}"))
        }
        EntryState::Another(program) => {
            Finding::failed(NAME, format!("{title} starts {program}, which is not there, as {file} says: {add}"))
        }
        EntryState::Other => {
            Finding::note(NAME, format!("{title} has something of this name that is no program, in {file}"))
        }
        EntryState::Unreadable(reason) => {
            Finding::failed(NAME, format!("{title}'s configuration cannot be read: {reason}"))
        }
    }
}
