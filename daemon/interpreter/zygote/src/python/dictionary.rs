//! Dictionaries, looked at without taking references where possible: every count that is written copies a page.

use core::ptr;

use super::*;

/// Where an object is that somebody else keeps, looked at without taking a reference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub(super) *mut Object);

impl Address {
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// How many entries the dictionary there has.
    pub fn entries(self) -> isize {
        // SAFETY: a dictionary, kept by the list of its modules.
        unsafe { PyDict_Size(self.0) }
    }

    pub fn reference(self) -> Reference {
        Reference::borrowed(self.0)
    }
}

/// The entries of a dictionary in their order, from the one at `first` on, whose values are wanted.
pub fn entries(dictionary: &Reference, first: usize, wanted: impl Fn(Address) -> bool) -> Vec<(Reference, Reference)> {
    let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    let mut entries = Vec::new();
    let mut number = 0;
    // SAFETY: a dictionary, which is not changed meanwhile, and places for what is borrowed from it.
    while unsafe { PyDict_Next(dictionary.0, &raw mut place, &raw mut key, &raw mut value) } != 0 {
        if number >= first && wanted(Address(value)) {
            entries.push((Reference::borrowed(key), Reference::borrowed(value)));
        }
        number += 1;
    }
    entries
}

pub fn delete_item(dictionary: &Reference, key: &Reference) {
    // SAFETY: both are alive.
    if unsafe { PyDict_DelItem(dictionary.0, key.0) } < 0 {
        forget_exception();
    }
}

pub fn set_item(dictionary: &Reference, key: &Reference, value: &Reference) {
    // SAFETY: all are alive.
    if unsafe { PyDict_SetItem(dictionary.0, key.0, value.0) } < 0 {
        forget_exception();
    }
}
