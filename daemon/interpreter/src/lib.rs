//! The embedded Python interpreter: a service with the interpreter API that isolates every execution by means of the kernel.
//!
//! [`http`] receives a request in the form that [`wire`] defines. [`executor`] queues it, and `prepare` checks it. `pool` has a [`slot`]
//! ready, in which `execution` makes one `run` of the program. `collect` and [`files`] take what the program leaves. The [`spawner`], a
//! process of its own, builds slots with the mechanisms of `sandbox`. The zygote forks their children: it is the host's Python with the
//! native library in `zygote/` and the scripts in `runner/`.
//!
//! Modules import in one direction only. `tests/structure.rs` has their order.

// The files in `zygote/` have no standard library, and name this crate.
extern crate alloc;

pub mod wire;

mod caller;
pub mod errors;
pub mod executor;
pub mod http;
pub mod learning;
pub mod limits;
mod prepare;
mod running;
pub mod settings;

mod bytecode;
mod counting;
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
mod printing;
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
