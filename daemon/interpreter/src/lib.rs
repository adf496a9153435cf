//! The embedded Python interpreter: a service with the interpreter API whose every execution is isolated by the kernel.
//!
//! In the order in which a request passes: [`wire`] is its JSON, `http` serves it, [`executor`] lets it in, `prepare` checks it, `pool`
//! has a [`slot`] ready for it, `execution` runs it there, `collect` and [`files`] take what it leaves. Slots are made by the
//! [`spawner`], in a process of its own, out of what `sandbox` knows; their children are forked by the zygote, the host's Python with
//! the library in `zygote/` and the scripts in `runner/`.

pub mod wire;

pub mod http;

pub mod executor;
pub mod limits;
mod prepare;

mod pool;
mod probe;
mod workshop;

mod answer;
mod execution;
mod explain;
mod memory;
mod output;
mod total;
mod whole;
pub use output::{rooms, shortened};

mod channel;
mod control_group;
pub mod mounts;
mod precedence;
mod python;
mod runner;
mod sandbox;
pub use sandbox::Network;
mod slot;
pub mod spawner;

pub mod tcp_owner;

mod collect;
pub mod files;
