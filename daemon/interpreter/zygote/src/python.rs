//! Python's C interface, as far as it is used: functions that every CPython from 3.9 on exports.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::ptr;

mod dictionary;
mod exception;

pub use dictionary::{Address, delete_item, entries, set_item};
pub use exception::{Exception, Raised, exception, print_exception, report_unraisable, take_exception};

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
    static PyExc_ImportError: *mut Object;
    static PyExc_KeyboardInterrupt: *mut Object;
    static PyExc_SystemExit: *mut Object;
    static mut _Py_NoneStruct: Object;

    static mut PyLong_Type: Object;
    static mut PyModule_Type: Object;

    fn PyBytes_FromStringAndSize(bytes: *const c_char, length: isize) -> *mut Object;
    fn PyCFunction_NewEx(method: *mut Method, bound_to: *mut Object, module: *mut Object) -> *mut Object;
    fn PyDict_DelItem(dictionary: *mut Object, key: *mut Object) -> c_int;
    fn PyDict_Next(dictionary: *mut Object, place: *mut isize, key: *mut *mut Object, value: *mut *mut Object)
    -> c_int;
    fn PyDict_SetItem(dictionary: *mut Object, key: *mut Object, value: *mut Object) -> c_int;
    fn PyDict_Size(dictionary: *mut Object) -> isize;
    fn PyDict_GetItemString(dictionary: *mut Object, key: *const c_char) -> *mut Object;
    fn PyGC_Collect() -> isize;
    fn PyErr_Clear();
    fn PyErr_Display(class: *mut Object, value: *mut Object, traceback: *mut Object);
    fn PyErr_ExceptionMatches(class: *mut Object) -> c_int;
    fn PyErr_Fetch(class: *mut *mut Object, value: *mut *mut Object, traceback: *mut *mut Object);
    fn PyErr_NormalizeException(class: *mut *mut Object, value: *mut *mut Object, traceback: *mut *mut Object);
    fn PyErr_Print();
    fn PyErr_SetString(class: *mut Object, text: *const c_char);
    fn PyErr_WriteUnraisable(object: *mut Object);
    fn PyException_SetTraceback(exception: *mut Object, traceback: *mut Object) -> c_int;
    fn PyFile_WriteObject(object: *mut Object, file: *mut Object, flags: c_int) -> c_int;
    fn PyImport_AddModule(name: *const c_char) -> *mut Object;
    fn PyImport_GetModuleDict() -> *mut Object;
    fn PyList_GetItem(list: *mut Object, place: isize) -> *mut Object;
    fn PyList_SetSlice(list: *mut Object, from: isize, to: isize, items: *mut Object) -> c_int;
    fn PyList_Size(list: *mut Object) -> isize;
    fn PyLong_AsLong(number: *mut Object) -> c_long;
    fn PyModule_GetDict(module: *mut Object) -> *mut Object;
    fn PyOS_AfterFork_Child();
    fn PyOS_AfterFork_Parent();
    fn PyOS_BeforeFork();
    fn PyObject_CallFunctionObjArgs(callable: *mut Object, ...) -> *mut Object;
    fn PyObject_IsTrue(object: *mut Object) -> c_int;
    fn PyObject_Type(object: *mut Object) -> *mut Object;
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
    fn PySys_SetObject(name: *const c_char, value: *mut Object) -> c_int;
    fn PySys_WriteStderr(format: *const c_char, ...);
    fn PyType_IsSubtype(class: *mut Object, other: *mut Object) -> c_int;
    fn PyUnicode_CompareWithASCIIString(text: *mut Object, other: *const c_char) -> c_int;
    fn PyUnicode_GetLength(text: *mut Object) -> isize;
    fn PyUnicode_ReadChar(text: *mut Object, place: isize) -> u32;
    fn PyWeakref_NewRef(object: *mut Object, callback: *mut Object) -> *mut Object;
    fn Py_DecRef(object: *mut Object);
    fn Py_IncRef(object: *mut Object);
    fn Py_LeaveRecursiveCall();
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

    /// None in place of null.
    fn or_none(&self) -> Reference {
        if self.is_null() { none() } else { self.clone() }
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

    /// Calls it without an argument; null calls nothing.
    pub fn call(&self) -> Reference {
        if self.is_null() {
            return Reference(ptr::null_mut());
        }
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

impl Clone for Reference {
    fn clone(&self) -> Self {
        Reference::borrowed(self.0)
    }
}

impl Reference {
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

    /// Whether it is of that class, whatever it says itself.
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

    /// A module's namespace, or null for what is no module.
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

/// `sys.modules`.
pub fn modules() -> Reference {
    // SAFETY: takes nothing; borrowed.
    Reference::borrowed(unsafe { PyImport_GetModuleDict() })
}

pub fn set_system_object(name: &CStr, value: &Reference) {
    // SAFETY: a C string, and a value that is alive. Null would delete the name.
    if !value.is_null() && unsafe { PySys_SetObject(name.as_ptr(), value.0) } < 0 {
        forget_exception();
    }
}

pub fn items_of_list(list: &Reference) -> Vec<Reference> {
    // SAFETY: a list, or null, which is an error.
    let length = unsafe { PyList_Size(list.0) };
    let item = |place| {
        // SAFETY: within the list; borrowed.
        Reference::borrowed(unsafe { PyList_GetItem(list.0, place) })
    };
    (0..length).map(item).collect()
}

pub fn clear_list(list: &Reference) {
    // SAFETY: a list, or what is an error; without items in their place.
    if unsafe { PyList_SetSlice(list.0, 0, isize::MAX, ptr::null_mut()) } < 0 {
        forget_exception();
    }
}

/// Nothing, where the program has switched the collector off.
pub fn collect_garbage() {
    // SAFETY: takes nothing; what goes wrong is reported by Python.
    unsafe { PyGC_Collect() };
}

/// Null where the object allows none.
pub fn weak_reference(object: &Reference) -> Reference {
    // SAFETY: alive; without a callback.
    let weak = Reference(unsafe { PyWeakref_NewRef(object.0, ptr::null_mut()) });
    if weak.is_null() {
        forget_exception();
    }
    weak
}

/// A character of a text; None beyond its end, or where it is no text.
pub fn character(text: &Reference, place: isize) -> Option<char> {
    // SAFETY: alive; what is no text is an error.
    let length = unsafe { PyUnicode_GetLength(text.0) };
    if length < 0 {
        forget_exception();
    }
    // SAFETY: within the text.
    (place < length).then(|| unsafe { PyUnicode_ReadChar(text.0, place) }).and_then(char::from_u32)
}

pub fn is_text(text: &Reference, other: &CStr) -> bool {
    // SAFETY: a text, as its first character has shown, or at least an object, and a C string.
    character(text, 0).is_some() && unsafe { PyUnicode_CompareWithASCIIString(text.0, other.as_ptr()) } == 0
}

/// Writes an object as `print` does, and an end of line, to `sys.stderr`.
pub fn write_to_stderr(object: &Reference) {
    const RAW: c_int = 1;
    let stream = system_object(c"stderr");
    // SAFETY: both are alive.
    if !stream.is_null() && !stream.is_none() && unsafe { PyFile_WriteObject(object.0, stream.0, RAW) } < 0 {
        forget_exception();
    }
    // SAFETY: a C string without a place for anything.
    unsafe { PySys_WriteStderr(c"\n".as_ptr()) };
}

/// `PyMethodDef`.
#[repr(C)]
struct Method {
    name: *const c_char,
    function: Function,
    flags: c_int,
    documentation: *const c_char,
}

/// `PyCFunction`.
pub type Function = extern "C" fn(*mut Object, *mut Object) -> *mut Object;

/// Fails the import that is going on, and has `function` called when that has ended the script: Python calls `sys.excepthook`, when
/// the script's frame is gone and nothing of Python is beneath, in the main thread's own state.
pub fn call_when_the_script_has_failed(function: Function) -> *mut Object {
    const METH_VARARGS: c_int = 1;
    let method = Method { name: c"zygote".as_ptr(), function, flags: METH_VARARGS, documentation: ptr::null() };
    let method = Box::leak(Box::new(method));
    // SAFETY: the definition lives as long as the process; it is bound to nothing.
    let hook = Reference(unsafe { PyCFunction_NewEx(method, ptr::null_mut(), ptr::null_mut()) });
    set_system_object(c"excepthook", &hook);
    // SAFETY: set when Python was initialised.
    let class = unsafe { PyExc_ImportError };
    // SAFETY: a class of exceptions and a C string.
    unsafe { PyErr_SetString(class, c"the zygote goes on without its script".as_ptr()) };
    ptr::null_mut()
}

/// Undoes what Python has noted of the script's end, and of calling the function that this is called from.
pub fn forget_the_script() {
    set_system_object(c"excepthook", &system_object(c"__excepthook__"));
    for name in LAST_EXCEPTION {
        // SAFETY: a C string; null deletes the name.
        if unsafe { PySys_SetObject(name.as_ptr(), ptr::null_mut()) } < 0 {
            forget_exception();
        }
    }
    // A call from C counts as a frame against the limit of recursion, and programs are to have all of that.
    // SAFETY: undoes the entry that Python has made for the call of our function, which never returns.
    unsafe { Py_LeaveRecursiveCall() };
}

/// What `sys` remembers of an exception that was printed.
pub const LAST_EXCEPTION: [&CStr; 4] = [c"last_type", c"last_value", c"last_traceback", c"last_exc"];

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

/// What `sys` holds under `name`, or null.
pub fn system_object(name: &CStr) -> Reference {
    // SAFETY: a C string; borrowed, and without an exception where it is missing.
    Reference::borrowed(unsafe { PySys_GetObject(name.as_ptr()) })
}

pub fn forget_exception() {
    // SAFETY: takes nothing.
    unsafe { PyErr_Clear() }
}
