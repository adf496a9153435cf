//! The embedded Python interpreter: a service with the interpreter API whose every execution is isolated by the kernel.

pub mod wire;
