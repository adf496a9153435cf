//! Python's C interface, as far as it is used: functions that every CPython from 3.9 on exports.

use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::ptr;

/// `PyObject`; only ever behind a pointer.
#[repr(C)]
pub struct Object {
    _private: [u8; 0],
}

/// A reference that is owned, or null after an exception.
pub struct Reference(*mut Object);

/// `Py_file_input`: a whole program.
const FILE_INPUT: c_int = 257;

unsafe extern "C" {
    static PyExc_KeyboardInterrupt: *mut Object;
    static PyExc_SystemExit: *mut Object;
    static mut _Py_NoneStruct: Object;

    fn PyBytes_FromStringAndSize(bytes: *const c_char, length: isize) -> *mut Object;
    fn PyDict_GetItemString(dictionary: *mut Object, key: *const c_char) -> *mut Object;
    fn PyErr_Clear();
    fn PyErr_ExceptionMatches(class: *mut Object) -> c_int;
    fn PyErr_Fetch(class: *mut *mut Object, value: *mut *mut Object, traceback: *mut *mut Object);
    fn PyErr_NormalizeException(class: *mut *mut Object, value: *mut *mut Object, traceback: *mut *mut Object);
    fn PyErr_Print();
    fn PyErr_WriteUnraisable(object: *mut Object);
    fn PyGILState_Ensure() -> c_int;
    fn PyImport_AddModule(name: *const c_char) -> *mut Object;
    fn PyImport_GetModuleDict() -> *mut Object;
    fn PyInterpreterState_Get() -> *mut c_void;
    fn PyLong_AsLong(number: *mut Object) -> c_long;
    fn PyModule_GetDict(module: *mut Object) -> *mut Object;
    fn PyOS_AfterFork_Child();
    fn PyOS_AfterFork_Parent();
    fn PyOS_BeforeFork();
    fn PyObject_CallFunctionObjArgs(callable: *mut Object, ...) -> *mut Object;
    fn PyObject_IsTrue(object: *mut Object) -> c_int;
    fn PyObject_GetAttrString(object: *mut Object, name: *const c_char) -> *mut Object;
    fn PyRun_FileExFlags(
        stream: *mut c_void,
        name: *const c_char,
        start: c_int,
        globals: *mut Object,
        locals: *mut Object,
        close: c_int,
        flags: *mut c_void,
    ) -> *mut Object;
    fn PySys_GetObject(name: *const c_char) -> *mut Object;
    fn PyThreadState_Clear(state: *mut c_void);
    fn PyThreadState_Delete(state: *mut c_void);
    fn PyThreadState_DeleteCurrent();
    fn PyThreadState_Get() -> *mut c_void;
    fn PyThreadState_New(interpreter: *mut c_void) -> *mut c_void;
    fn Py_DecRef(object: *mut Object);
    fn Py_IncRef(object: *mut Object);
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: owned, and null is allowed.
        unsafe { Py_DecRef(self.0) }
    }
}

impl Reference {
    /// Takes a further reference to a borrowed object.
    fn borrowed(object: *mut Object) -> Self {
        // SAFETY: the object is alive while the caller looks at it; null is allowed.
        unsafe { Py_IncRef(object) };
        Reference(object)
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    pub fn is_none(&self) -> bool {
        // SAFETY: only its address is taken.
        self.0 == &raw mut _Py_NoneStruct
    }

    /// Whether it counts as true. What has no answer does not, as what is missing does not.
    pub fn is_true(&self) -> bool {
        // SAFETY: not null where it is asked.
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

    /// Calls it without an argument.
    pub fn call(&self) -> Reference {
        // SAFETY: a null pointer ends the list of arguments.
        Reference(unsafe { PyObject_CallFunctionObjArgs(self.0, ptr::null_mut::<Object>()) })
    }

    pub fn call_with(&self, argument: &Reference) -> Reference {
        // SAFETY: a null pointer ends the list of arguments.
        Reference(unsafe { PyObject_CallFunctionObjArgs(self.0, argument.0, ptr::null_mut::<Object>()) })
    }

    pub fn as_number(&self) -> c_int {
        // SAFETY: alive during the call; what is no number is -1.
        unsafe { PyLong_AsLong(self.0) as c_int }
    }
}

/// Leaves the thread state, and with it all frames, in which Python led here, and goes on in a new one.
///
/// What is called from now on has no frame of ours beneath it. The code that called us must never be returned to.
pub fn leave_all_frames() {
    // SAFETY: this thread has a thread state, being called by Python.
    let state = unsafe { PyThreadState_Get() };
    // SAFETY: takes nothing.
    let interpreter = unsafe { PyInterpreterState_Get() };
    // An interpreter without a single thread state would take its first one for the next, which Python 3.11 does not allow.
    // SAFETY: the interpreter is alive.
    let spare = unsafe { PyThreadState_New(interpreter) };
    // SAFETY: it is this thread's own; its frames are never returned to.
    unsafe { PyThreadState_Clear(state) };
    // SAFETY: cleared right before.
    unsafe { PyThreadState_DeleteCurrent() };
    // SAFETY: a thread without a state gets a new one, and the lock.
    unsafe { PyGILState_Ensure() };
    // SAFETY: nothing has ever run in it.
    unsafe { PyThreadState_Clear(spare) };
    // SAFETY: cleared right before.
    unsafe { PyThreadState_Delete(spare) };
}

pub fn before_fork() {
    // SAFETY: this thread holds Python's lock, as it does from here to its end.
    unsafe { PyOS_BeforeFork() }
}

pub fn after_fork_in_parent() {
    // SAFETY: follows `before_fork`.
    unsafe { PyOS_AfterFork_Parent() }
}

pub fn after_fork_in_child() {
    // SAFETY: follows `before_fork`.
    unsafe { PyOS_AfterFork_Child() }
}

/// The module `__main__`.
pub fn main_module() -> Reference {
    // SAFETY: a C string; the module is borrowed.
    Reference::borrowed(unsafe { PyImport_AddModule(c"__main__".as_ptr()) })
}

/// A module if it has been imported, or null.
pub fn imported_module(name: &CStr) -> Reference {
    // SAFETY: takes nothing; borrowed.
    let modules = unsafe { PyImport_GetModuleDict() };
    // SAFETY: both are alive during the call; borrowed, and without an exception where it is missing.
    Reference::borrowed(unsafe { PyDict_GetItemString(modules, name.as_ptr()) })
}

pub fn bytes(bytes: &[u8]) -> Reference {
    // SAFETY: copies as many bytes as are there.
    Reference(unsafe { PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as isize) })
}

/// Runs the program in `stream`, which is closed, in the namespace of `module`. False after an exception.
pub fn run_file(stream: *mut c_void, name: &CStr, module: &Reference) -> bool {
    // SAFETY: alive; borrowed from the module.
    let globals = unsafe { PyModule_GetDict(module.0) };
    // A program may replace its own module; the namespace that it runs in lives on until it ends.
    let globals = Reference::borrowed(globals);
    // SAFETY: an open stream, a C string and a dictionary; no flags are inherited.
    let result = Reference(unsafe {
        PyRun_FileExFlags(stream, name.as_ptr(), FILE_INPUT, globals.0, globals.0, 1, ptr::null_mut())
    });
    !result.is_null()
}

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

/// Takes the current exception: its value. The traceback, and with it what the frames hold, is let go.
pub fn take_exception() -> Reference {
    let (mut class, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: three places for three references, which are owned from here on.
    unsafe { PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback) };
    // SAFETY: as above.
    unsafe { PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback) };
    drop(Reference(class));
    drop(Reference(traceback));
    Reference(value)
}

/// What `sys` holds under `name`, or null.
pub fn system_object(name: &CStr) -> Reference {
    // SAFETY: a C string; borrowed, and without an exception where it is missing.
    Reference::borrowed(unsafe { PySys_GetObject(name.as_ptr()) })
}

pub fn forget_exception() {
    // SAFETY: takes nothing.
    unsafe { PyErr_Clear() }
}

/// Prints the current exception as an uncaught one, by `sys.excepthook`.
pub fn print_exception() {
    // SAFETY: there is an exception.
    unsafe { PyErr_Print() }
}

/// Reports the current exception as one that nobody can catch.
pub fn report_unraisable(object: &Reference) {
    // SAFETY: there is an exception; the object is alive.
    unsafe { PyErr_WriteUnraisable(object.0) }
}
