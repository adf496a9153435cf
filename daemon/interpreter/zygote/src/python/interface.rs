//! The functions and objects of CPython's C interface that are used here. Every CPython since 3.9 exports them.

use core::ffi::{c_char, c_int, c_long, c_void};

/// `PyObject`. Only used behind a pointer.
#[repr(C)]
pub struct Object {
    _private: [u8; 0],
}

/// `PyMethodDef`.
#[repr(C)]
pub struct Method {
    pub name: *const c_char,
    pub function: Function,
    pub flags: c_int,
    pub documentation: *const c_char,
}

/// `PyCFunction`.
pub type Function = extern "C" fn(*mut Object, *mut Object) -> *mut Object;

// SAFETY: the declarations are those of CPython's headers.
unsafe extern "C" {
    pub static PyExc_ImportError: *mut Object;
    pub static PyExc_KeyboardInterrupt: *mut Object;
    pub static PyExc_SystemExit: *mut Object;
    pub static mut _Py_NoneStruct: Object;

    pub static mut PyLong_Type: Object;
    pub static mut PyModule_Type: Object;

    pub fn PyBytes_FromStringAndSize(bytes: *const c_char, length: isize) -> *mut Object;
    pub fn PyCFunction_NewEx(method: *mut Method, bound_to: *mut Object, module: *mut Object) -> *mut Object;
    pub fn PyDict_DelItem(dictionary: *mut Object, key: *mut Object) -> c_int;
    pub fn PyDict_Next(
        dictionary: *mut Object,
        place: *mut isize,
        key: *mut *mut Object,
        value: *mut *mut Object,
    ) -> c_int;
    pub fn PyDict_SetItem(dictionary: *mut Object, key: *mut Object, value: *mut Object) -> c_int;
    pub fn PyDict_Size(dictionary: *mut Object) -> isize;
    pub fn PyDict_GetItemString(dictionary: *mut Object, key: *const c_char) -> *mut Object;
    pub fn PyGC_Collect() -> isize;
    pub fn PyErr_Clear();
    pub fn PyErr_Display(class: *mut Object, value: *mut Object, traceback: *mut Object);
    pub fn PyErr_ExceptionMatches(class: *mut Object) -> c_int;
    pub fn PyErr_Fetch(class: *mut *mut Object, value: *mut *mut Object, traceback: *mut *mut Object);
    pub fn PyErr_NormalizeException(class: *mut *mut Object, value: *mut *mut Object, traceback: *mut *mut Object);
    pub fn PyErr_Print();
    pub fn PyErr_SetString(class: *mut Object, text: *const c_char);
    pub fn PyErr_WriteUnraisable(object: *mut Object);
    pub fn PyException_SetTraceback(exception: *mut Object, traceback: *mut Object) -> c_int;
    pub fn PyFile_WriteObject(object: *mut Object, file: *mut Object, flags: c_int) -> c_int;
    pub fn PyImport_AddModule(name: *const c_char) -> *mut Object;
    pub fn PyImport_GetModuleDict() -> *mut Object;
    pub fn PyList_GetItem(list: *mut Object, place: isize) -> *mut Object;
    pub fn PyList_SetSlice(list: *mut Object, from: isize, to: isize, items: *mut Object) -> c_int;
    pub fn PyList_Size(list: *mut Object) -> isize;
    pub fn PyLong_AsLong(number: *mut Object) -> c_long;
    pub fn PyModule_GetDict(module: *mut Object) -> *mut Object;
    pub fn PyOS_AfterFork_Child();
    pub fn PyOS_AfterFork_Parent();
    pub fn PyOS_BeforeFork();
    pub fn PyObject_CallFunctionObjArgs(callable: *mut Object, ...) -> *mut Object;
    pub fn PyObject_IsTrue(object: *mut Object) -> c_int;
    pub fn PyObject_Type(object: *mut Object) -> *mut Object;
    pub fn PyObject_GetAttrString(object: *mut Object, name: *const c_char) -> *mut Object;
    pub fn PyRun_FileExFlags(
        stream: *mut c_void,
        name: *const c_char,
        start: c_int,
        globals: *mut Object,
        locals: *mut Object,
        close: c_int,
        flags: *mut c_void,
    ) -> *mut Object;
    pub fn PySys_GetObject(name: *const c_char) -> *mut Object;
    pub fn PySys_SetObject(name: *const c_char, value: *mut Object) -> c_int;
    pub fn PySys_WriteStderr(format: *const c_char, ...);
    pub fn PyType_IsSubtype(class: *mut Object, other: *mut Object) -> c_int;
    pub fn PyUnicode_CompareWithASCIIString(text: *mut Object, other: *const c_char) -> c_int;
    pub fn PyUnicode_GetLength(text: *mut Object) -> isize;
    pub fn PyUnicode_ReadChar(text: *mut Object, place: isize) -> u32;
    pub fn PyWeakref_NewRef(object: *mut Object, callback: *mut Object) -> *mut Object;
    pub fn Py_DecRef(object: *mut Object);
    pub fn Py_IncRef(object: *mut Object);
    pub fn Py_LeaveRecursiveCall();
}
