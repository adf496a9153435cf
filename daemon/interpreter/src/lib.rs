//! The embedded Python interpreter: a service with the interpreter API that isolates every execution by means of the kernel.
//!
//! A request takes this way: [`http`] receives it as [`wire`] defines it, [`executor`] queues it, `prepare` checks it, `pool` has a
//! [`slot`] ready for it, `execution` uses that slot for one `run` of the program, and `collect` and [`files`] take what it leaves. Slots
//! are built by the [`spawner`], a process of its own, with the mechanisms of `sandbox`. Their children are forked by the zygote: the
//! host's Python with the native library in `zygote/` and the scripts in `runner/`.
//!
//! Modules import in one direction only. `tests/structure.rs` has their order.

// The files in `zygote/` have no standard library, and name this crate.
extern crate alloc;

pub mod wire;

pub mod errors;
pub mod executor;
pub mod http;
pub mod limits;
mod prepare;
pub mod settings;

mod pool;
mod probe;
mod workshop;
pub use workshop::WorkshopError;

mod answer;
mod execution;
mod explain;
mod memory;
mod outcome;
mod output;
mod run;
mod total;
mod whole;
pub use output::{rooms, shortened};

mod channel;
mod control_group;
mod launch;
pub mod mounts;
mod precedence;
#[path = "../zygote/src/protocol.rs"]
mod protocol;
mod python;
mod runner;
mod sandbox;
pub use sandbox::Network;
mod slot;
pub mod spawner;

pub mod tcp_owner;

mod collect;
pub mod files;

pub use collect::by_number;
