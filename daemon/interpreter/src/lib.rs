//! The embedded Python interpreter: a service with the interpreter API whose every execution is isolated by the kernel.
//!
//! In the order in which a request passes: [`wire`] is its JSON, `http` serves it, [`executor`] runs it, `prepare` checks it, `workshop` holds the
//! spawner that makes its [`slot`], `sandbox` is what a slot is made of, `collect` and [`files`] take what it leaves.

pub mod wire;

pub mod http;

pub mod executor;
pub mod limits;
mod prepare;

mod channel;
mod job;
mod python;
mod sandbox;
mod slot;
pub mod spawner;
mod workshop;

mod collect;
pub mod files;
mod output;
