//! The tools that clients see, one module each.

pub mod execute_python_code;
