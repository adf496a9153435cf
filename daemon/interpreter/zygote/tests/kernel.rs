//! Compares the zygote's constants and structures with those of the `libc` crate, which the zygote itself cannot use.
#![allow(unsafe_code, dead_code, reason = "this is the zygote's own module; only its tests are used here")]

#[path = "../src/kernel.rs"]
mod kernel;
