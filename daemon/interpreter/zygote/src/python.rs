//! Python's C interface, as far as it is used.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{CStr, c_int, c_void};
use core::ptr;

mod dictionary;
mod exception;
mod interface;
mod reference;
mod system;

pub use dictionary::{delete_item, entries, set_item};
pub use exception::{Exception, Raised, exception, print_exception, report_unraisable, take_exception};
use interface::*;
pub use interface::{Function, Object};
pub use reference::{Address, Reference, forget_exception, none};
pub use system::{delete_system_object, imported_module, main_module, modules, set_system_object, system_object};

/// `Py_file_input`: the code is a whole program.
const FILE_INPUT: c_int = 257;

pub fn items_of_list(list: &Reference) -> Vec<Reference> {
    // SAFETY: a list; null is an error.
    let length = unsafe { PyList_Size(list.0) };
    let item = |place| {
        // SAFETY: within the list; the result is borrowed.
        Reference::borrowed(unsafe { PyList_GetItem(list.0, place) })
    };
    (0..length).map(item).collect()
}

pub fn clear_list(list: &Reference) {
    // SAFETY: a list; null deletes the items.
    if unsafe { PyList_SetSlice(list.0, 0, isize::MAX, ptr::null_mut()) } < 0 {
        forget_exception();
    }
}

/// Collects garbage, unless the program has disabled the collector.
pub fn collect_garbage() {
    // SAFETY: the function has no arguments; Python reports errors itself.
    unsafe { PyGC_Collect() };
}

/// Null if the object does not support weak references.
pub fn weak_reference(object: &Reference) -> Reference {
    // SAFETY: alive; null means no callback.
    let weak = Reference(unsafe { PyWeakref_NewRef(object.0, ptr::null_mut()) });
    if weak.is_null() {
        forget_exception();
    }
    weak
}

/// A character of a `str`. `None` beyond its end, or if it is not a `str`.
pub fn character(text: &Reference, place: isize) -> Option<char> {
    // SAFETY: alive; any other type is an error.
    let length = unsafe { PyUnicode_GetLength(text.0) };
    if length < 0 {
        forget_exception();
    }
    // SAFETY: within the text.
    (place < length).then(|| unsafe { PyUnicode_ReadChar(text.0, place) }).and_then(char::from_u32)
}

pub fn is_text(text: &Reference, other: &CStr) -> bool {
    // SAFETY: a `str`, since it has a first character, and a C string.
    character(text, 0).is_some() && unsafe { PyUnicode_CompareWithASCIIString(text.0, other.as_ptr()) } == 0
}

/// Writes `str(object)` and a newline to `sys.stderr`.
pub fn write_to_stderr(object: &Reference) {
    const RAW: c_int = 1;
    let stream = system_object(c"stderr");
    // SAFETY: both are alive.
    if !stream.is_null() && !stream.is_none() && unsafe { PyFile_WriteObject(object.0, stream.0, RAW) } < 0 {
        forget_exception();
    }
    // SAFETY: a C string without a format specifier.
    unsafe { PySys_WriteStderr(c"\n".as_ptr()) };
}

/// Fails the current import, which ends the script with an exception, and installs `function` as `sys.excepthook`. Python calls that
/// hook in the main thread's own state after the script's frame is gone, so no Python frame lies beneath it.
pub fn call_when_the_script_has_failed(function: Function) -> *mut Object {
    const METH_VARARGS: c_int = 1;
    let method = Method { name: c"zygote".as_ptr(), function, flags: METH_VARARGS, documentation: ptr::null() };
    let method = Box::leak(Box::new(method));
    // SAFETY: the definition is leaked; null means bound to nothing.
    let hook = Reference(unsafe { PyCFunction_NewEx(method, ptr::null_mut(), ptr::null_mut()) });
    set_system_object(c"excepthook", &hook);
    // SAFETY: Python sets it when it is initialised.
    let class = unsafe { PyExc_ImportError };
    // SAFETY: an exception class and a C string.
    unsafe { PyErr_SetString(class, c"the zygote goes on without its script".as_ptr()) };
    ptr::null_mut()
}

/// Undoes what Python has recorded about the script's exception, and about the call of the function of ours that called this.
pub fn forget_the_script() {
    set_system_object(c"excepthook", &system_object(c"__excepthook__"));
    for name in [c"last_type", c"last_value", c"last_traceback", c"last_exc"] {
        delete_system_object(name);
    }
    // A call from C counts as a frame against the recursion limit, and programs must have all of it.
    // SAFETY: leaves the call of our function, which Python has entered and which never returns.
    unsafe { Py_LeaveRecursiveCall() };
}

pub fn before_fork() {
    // SAFETY: this thread holds the GIL, and never releases it.
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

pub fn bytes(bytes: &[u8]) -> Reference {
    // SAFETY: copies the bytes.
    Reference(unsafe { PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as isize) })
}

/// Runs the program in `stream` in the namespace of `module`, and closes the stream. False after an exception.
pub fn run_file(stream: *mut c_void, name: &CStr, module: &Reference) -> bool {
    // SAFETY: alive; the result is borrowed.
    let globals = unsafe { PyModule_GetDict(module.0) };
    // A program may replace its own module, so keep the namespace alive until the program ends.
    let globals = Reference::borrowed(globals);
    // SAFETY: an open stream, a C string and a dictionary; null means no flags.
    let result = Reference(unsafe {
        PyRun_FileExFlags(stream, name.as_ptr(), FILE_INPUT, globals.0, globals.0, 1, ptr::null_mut())
    });
    !result.is_null()
}
