//! Exceptions of a program: their kind, and how Python prints uncaught ones.

use core::ptr;

use super::interface::*;
use super::reference::Reference;
use super::system::{set_system_object, system_object};

pub enum Exception {
    SystemExit,
    KeyboardInterrupt,
    Other,
}

/// The kind of the current exception.
pub fn exception() -> Exception {
    let is = |class: *mut Object| {
        // SAFETY: there is an exception, and the class is one of Python's own.
        unsafe { PyErr_ExceptionMatches(class) != 0 }
    };
    // SAFETY: set when Python was initialised.
    let (system_exit, keyboard_interrupt) = unsafe { (PyExc_SystemExit, PyExc_KeyboardInterrupt) };
    if is(system_exit) {
        Exception::SystemExit
    } else if is(keyboard_interrupt) {
        Exception::KeyboardInterrupt
    } else {
        Exception::Other
    }
}

/// A raised exception. Its references are released in this order.
pub struct Raised {
    class: Reference,
    pub value: Reference,
    traceback: Reference,
}

impl Raised {
    fn display(&self) {
        // SAFETY: all are alive; a traceback may be null.
        unsafe { PyErr_Display(self.class.0, self.value.0, self.traceback.0) }
    }
}

/// Takes the current exception, so that there is none any more.
pub fn take_exception() -> Raised {
    let (mut class, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the three references are owned from here on.
    unsafe { PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback) };
    // SAFETY: three owned references.
    unsafe { PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback) };
    if !traceback.is_null() {
        // SAFETY: an exception and its traceback, both alive.
        unsafe { PyException_SetTraceback(value, traceback) };
    }
    Raised { class: Reference(class), value: Reference(value), traceback: Reference(traceback) }
}

/// Prints the current exception as an uncaught one, with `sys.excepthook`. Returns true if the program's own hook raised SystemExit, which
/// is the current exception then: CPython would end the process there.
pub fn print_exception() -> bool {
    let hook = system_object(c"excepthook");
    if hook.is_null() || hook.is(&system_object(c"__excepthook__")) {
        // SAFETY: there is an exception.
        unsafe { PyErr_Print() }
        return false;
    }
    let raised = take_exception();
    for (name, object) in
        [(c"last_type", &raised.class), (c"last_value", &raised.value), (c"last_traceback", &raised.traceback)]
    {
        set_system_object(name, object);
    }
    // SAFETY: all are alive; a null pointer ends the arguments.
    let result = Reference(unsafe {
        PyObject_CallFunctionObjArgs(
            hook.0,
            raised.class.0,
            raised.value.0,
            raised.traceback.or_none().0,
            ptr::null_mut::<Object>(),
        )
    });
    if !result.is_null() {
        return false;
    }
    if matches!(exception(), Exception::SystemExit) {
        return true;
    }
    let of_hook = take_exception();
    // SAFETY: a C string without a format specifier.
    unsafe { PySys_WriteStderr(c"Error in sys.excepthook:\n".as_ptr()) };
    of_hook.display();
    // SAFETY: a C string without a format specifier.
    unsafe { PySys_WriteStderr(c"\nOriginal exception was:\n".as_ptr()) };
    raised.display();
    false
}

/// Reports the current exception with `sys.unraisablehook`.
pub fn report_unraisable(object: &Reference) {
    // SAFETY: there is an exception; the object is alive.
    unsafe { PyErr_WriteUnraisable(object.0) }
}
