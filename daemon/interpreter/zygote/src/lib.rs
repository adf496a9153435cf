//! The zygote's native part, which Python loads as an extension module. It takes over when the script that loads it has ended.
//!
//! It forks children into slots, confines them, and has them run one program each as `python3 script.py` would. No Python frame
//! of ours lies beneath a program, and no program's text passes through the zygote: it goes straight to a child.
//!
//! The build script compiles it with the feature `standalone`: then it links nothing, not even Rust's standard library, and finds
//! all it calls in the Python that loads it.
#![cfg_attr(feature = "standalone", no_std)]
#![allow(unsafe_code, reason = "the C library and Python's C interface are all there is between this and the kernel")]

extern crate alloc;

#[cfg(feature = "standalone")]
mod standalone;

mod kernel;
mod python;

mod child;
mod enter;
mod program;
mod serve;
mod teardown;

/// Called by Python when it loads the module `zygote`, of which nothing else is wanted.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit_zygote() -> *mut python::Object {
    python::call_when_the_script_has_failed(take_over)
}

extern "C" fn take_over(_module: *mut python::Object, _exception: *mut python::Object) -> *mut python::Object {
    serve::run()
}
