//! Dictionaries. References are avoided where possible: changing a reference count copies a page of the zygote's memory.

use alloc::vec::Vec;
use core::ptr;

use super::interface::*;
use super::reference::{Address, Reference, forget_exception};

/// The (key, value) pairs of a dictionary from index `first` on whose value is `wanted`.
pub fn entries(dictionary: &Reference, first: usize, wanted: impl Fn(Address) -> bool) -> Vec<(Reference, Reference)> {
    let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    let mut entries = Vec::new();
    let mut number = 0;
    // SAFETY: a dictionary, which is not changed meanwhile; key and value are borrowed.
    while unsafe { PyDict_Next(dictionary.0, &raw mut place, &raw mut key, &raw mut value) } != 0 {
        if number >= first && wanted(Address::of(value)) {
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
