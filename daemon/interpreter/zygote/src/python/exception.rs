//! Exceptions of a program: their kind, and how Python prints those that nobody catches.

use core::ptr;

use super::*;

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

/// An exception that was raised. What it holds is let go in this order.
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

/// Takes the current exception.
pub fn take_exception() -> Raised {
    let (mut class, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: three places for three references, which are owned from here on.
    unsafe { PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback) };
    // SAFETY: as above.
    unsafe { PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback) };
    if !traceback.is_null() {
        // SAFETY: an exception and its traceback, both alive.
        unsafe { PyException_SetTraceback(value, traceback) };
    }
    Raised { class: Reference(class), value: Reference(value), traceback: Reference(traceback) }
}

/// Prints the current exception as an uncaught one, by `sys.excepthook`. If a hook of the program's own leaves by SystemExit, that is
/// the current exception then, and the answer is true: CPython would end the process there.
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
    // SAFETY: all are alive; a null pointer ends the list of arguments.
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
    // SAFETY: a C string without a place for anything.
    unsafe { PySys_WriteStderr(c"Error in sys.excepthook:\n".as_ptr()) };
    of_hook.display();
    // SAFETY: as above.
    unsafe { PySys_WriteStderr(c"\nOriginal exception was:\n".as_ptr()) };
    raised.display();
    false
}

/// Reports the current exception as one that nobody can catch.
pub fn report_unraisable(object: &Reference) {
    // SAFETY: there is an exception; the object is alive.
    unsafe { PyErr_WriteUnraisable(object.0) }
}
