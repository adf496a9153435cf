//! The zygote's native part, an extension module for Python. It takes over when the script that loads it has ended.
//!
//! It forks children into slots, confines them, and lets each run one program as `python3 script.py` would. No Python frame of ours lies
//! beneath a program. A program's text never passes through the zygote: it goes straight to a child.
//!
//! The build script compiles it with the feature `standalone`. Then it links nothing, not even Rust's standard library, and finds
//! everything that it calls in the Python that loads it.
//!
//! Modules import in one direction only. `tests/structure.rs` has their order.
#![cfg_attr(feature = "standalone", no_std)]
#![allow(unsafe_code, reason = "the C library and Python's C interface are all there is between this and the kernel")]

extern crate alloc;

#[cfg(feature = "standalone")]
mod standalone;

mod kernel;
mod messages;
mod protocol;
mod python;

mod child;
mod enter;
mod program;
mod serve;
mod teardown;

/// Python calls this when it loads the module `zygote`.
// SAFETY: the name is reserved for the module `zygote`, and the library exports nothing else.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit_zygote() -> *mut python::Object {
    python::call_when_the_script_has_failed(take_over)
}

extern "C" fn take_over(_module: *mut python::Object, _exception: *mut python::Object) -> *mut python::Object {
    serve::run()
}
