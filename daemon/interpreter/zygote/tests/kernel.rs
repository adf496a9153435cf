//! The zygote's library is built without the `libc` crate: here its constants and structures are compared with those.
#![allow(unsafe_code, dead_code, reason = "it is the zygote's own module, of which only the tests are run")]

#[path = "../src/kernel.rs"]
mod kernel;
