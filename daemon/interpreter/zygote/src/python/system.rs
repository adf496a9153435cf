//! Modules, and the names of `sys`.

use core::ffi::CStr;

use super::interface::*;
use super::reference::{Reference, forget_exception};

/// `sys.modules`.
pub fn modules() -> Reference {
    // SAFETY: the function has no arguments; the result is borrowed.
    Reference::borrowed(unsafe { PyImport_GetModuleDict() })
}

/// The module `__main__`.
pub fn main_module() -> Reference {
    // SAFETY: a C string; the result is borrowed.
    Reference::borrowed(unsafe { PyImport_AddModule(c"__main__".as_ptr()) })
}

/// A module, or null if it has not been imported.
pub fn imported_module(name: &CStr) -> Reference {
    // SAFETY: the function has no arguments; the result is borrowed.
    let modules = unsafe { PyImport_GetModuleDict() };
    // SAFETY: both are alive during the call; the result is borrowed, and null without an exception if there is none.
    Reference::borrowed(unsafe { PyDict_GetItemString(modules, name.as_ptr()) })
}

/// `sys.<name>`, or null.
pub fn system_object(name: &CStr) -> Reference {
    // SAFETY: a C string; the result is borrowed, and null without an exception if there is none.
    Reference::borrowed(unsafe { PySys_GetObject(name.as_ptr()) })
}

/// Sets `sys.<name>`, unless the value is null.
pub fn set_system_object(name: &CStr, value: &Reference) {
    // SAFETY: a C string and a value that is alive.
    if !value.is_null() && unsafe { PySys_SetObject(name.as_ptr(), value.0) } < 0 {
        forget_exception();
    }
}

/// Deletes `sys.<name>`.
pub fn delete_system_object(name: &CStr) {
    // SAFETY: a C string; null deletes the name.
    if unsafe { PySys_SetObject(name.as_ptr(), core::ptr::null_mut()) } < 0 {
        forget_exception();
    }
}
