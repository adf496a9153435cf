//! References to Python's objects.

use core::ffi::{CStr, c_int};
use core::ptr;

use super::interface::*;

/// An owned reference. Null after an exception.
pub struct Reference(pub(super) *mut Object);

/// The address of an object that something else keeps alive. No reference is taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(*mut Object);

impl Address {
    pub(super) fn of(object: *mut Object) -> Self {
        Address(object)
    }

    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The number of entries of a dictionary.
    pub fn entries(self) -> isize {
        // SAFETY: a dictionary that its module keeps alive.
        unsafe { PyDict_Size(self.0) }
    }

    pub fn reference(self) -> Reference {
        Reference::borrowed(self.0)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: owned, and null is allowed.
        unsafe { Py_DecRef(self.0) }
    }
}

impl Reference {
    /// Takes a new reference to a borrowed object.
    pub(super) fn borrowed(object: *mut Object) -> Self {
        // SAFETY: the object is alive during the call; null is allowed.
        unsafe { Py_IncRef(object) };
        Reference(object)
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// `None` instead of null.
    pub fn or_none(&self) -> Reference {
        if self.is_null() { none() } else { self.clone() }
    }

    pub fn is_none(&self) -> bool {
        // SAFETY: only its address is taken.
        self.0 == &raw mut _Py_NoneStruct
    }

    /// Whether it counts as true. False if it is null, or raises an exception.
    pub fn is_true(&self) -> bool {
        // SAFETY: not null.
        let answer = if self.is_null() { -1 } else { unsafe { PyObject_IsTrue(self.0) } };
        if answer < 0 {
            forget_exception();
        }
        answer > 0
    }

    pub fn attribute(&self, name: &CStr) -> Reference {
        // SAFETY: both are alive during the call.
        Reference(unsafe { PyObject_GetAttrString(self.0, name.as_ptr()) })
    }

    /// Calls it without arguments. Null if it is null.
    pub fn call(&self) -> Reference {
        if self.is_null() {
            return Reference(ptr::null_mut());
        }
        // SAFETY: a null pointer ends the arguments.
        Reference(unsafe { PyObject_CallFunctionObjArgs(self.0, ptr::null_mut::<Object>()) })
    }

    pub fn call_with(&self, argument: &Reference) -> Reference {
        // SAFETY: a null pointer ends the arguments.
        Reference(unsafe { PyObject_CallFunctionObjArgs(self.0, argument.0, ptr::null_mut::<Object>()) })
    }

    pub fn as_number(&self) -> c_int {
        // SAFETY: alive during the call; -1 if it is not a number.
        unsafe { PyLong_AsLong(self.0) as c_int }
    }

    pub fn address(&self) -> Address {
        Address(self.0)
    }

    pub fn is(&self, other: &Reference) -> bool {
        self.0 == other.0
    }

    pub fn is_module(&self) -> bool {
        self.is_of(&raw mut PyModule_Type)
    }

    pub fn is_number(&self) -> bool {
        self.is_of(&raw mut PyLong_Type)
    }

    /// Whether its type is `class` or a subclass, regardless of its `__class__`.
    pub fn is_instance(&self, class: &Reference) -> bool {
        !class.is_null() && self.is_of(class.0)
    }

    fn is_of(&self, class: *mut Object) -> bool {
        if self.is_null() {
            return false;
        }
        // SAFETY: an object, and a class.
        let own = Reference(unsafe { PyObject_Type(self.0) });
        // SAFETY: both are classes.
        unsafe { PyType_IsSubtype(own.0, class) != 0 }
    }

    /// The namespace of a module. Null if it is not a module.
    pub fn names(&self) -> Reference {
        if !self.is_module() {
            return Reference(ptr::null_mut());
        }
        // SAFETY: a module; its dictionary is borrowed.
        Reference::borrowed(unsafe { PyModule_GetDict(self.0) })
    }
}

pub fn none() -> Reference {
    Reference::borrowed(&raw mut _Py_NoneStruct)
}

/// Clears the current exception, if there is one.
pub fn forget_exception() {
    // SAFETY: the function has no arguments.
    unsafe { PyErr_Clear() }
}

impl Clone for Reference {
    fn clone(&self) -> Self {
        Reference::borrowed(self.0)
    }
}
