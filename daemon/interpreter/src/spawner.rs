//! The spawner: makes the outer sandbox, and in it the zygote and slots. It holds no data of any call.
//!
//! The interpreter cannot clone itself into namespaces, because the child of a clone goes on with a copy of its memory, locks
//! that other threads hold included. The spawner is two processes with a single thread each: one outside, which only waits, and one
//! as the first in the outer sandbox, which does the work. The interpreter's socket is its standard input; when that ends, or the
//! interpreter dies, so do both, and with them the zygote and every slot.

mod inside;
mod zygote;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitOptions, pidfd_send_signal, set_parent_process_death_signal, wait};
use serde::{Deserialize, Serialize};

use crate::channel::{Failure, Received, receive, send};
use crate::python::Launch;
use crate::sandbox::{self, Policy, step};

/// What the interpreter tells its spawner.
#[derive(Debug, Serialize, Deserialize)]
pub enum SpawnerMessage {
    /// First and once: what slots are made of, and which Python runs in them.
    Prepare(Box<Policy>, Launch),
    /// One slot. With its socket, its stdout, its stderr and, where there is one, its control group's `cgroup.procs`.
    Spawn(Need),
}

/// When a slot's child will have its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Need {
    /// A call waits for it.
    Now,
    /// Perhaps soon: until then there is time for a rehearsal, which makes the program's own time shorter.
    Later,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum SpawnerReport {
    /// The zygote waits for slots.
    Ready,
    /// It ends, and this is why.
    Failed(Failure),
}

/// Serves the socket on standard input until it ends.
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the spawner stops");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    // An interpreter that died before this line has closed the socket: the first receive ends.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sandbox::reset_signals();
    sandbox::block_requests_to_end()?;
    let interpreter = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(null)?;
    let Some(Received { message: SpawnerMessage::Prepare(policy, launch), .. }) = receive(&interpreter)? else {
        return Ok(());
    };
    // Open as long as this process lives: that is how the other one knows that it does.
    let _alive = match make_outer(&policy, &launch, &interpreter) {
        Ok(alive) => alive,
        Err(failure) => return send(&interpreter, &SpawnerReport::Failed(failure), &[]),
    };
    // What tells the interpreter of the other process's end is that nobody holds the socket any more.
    drop(interpreter);
    wait(WaitOptions::empty())?;
    Ok(())
}

fn make_outer(policy: &Policy, launch: &Launch, interpreter: &OwnedFd) -> Result<OwnedFd, Failure> {
    let (wait, go) = step("make a pipe", || Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?))?;
    let cloned = step("create namespaces", || sandbox::clone_into_namespaces(policy.network, true))?;
    let Some(child) = cloned else {
        drop(go);
        inside::run(policy, launch, interpreter, wait)
    };
    let mapped = sandbox::map_identity(policy, &child)
        .and_then(|()| step("start in the sandbox", || Ok(rustix::io::write(&go, b"g").map(drop)?)));
    if mapped.is_err() {
        // It may be gone already; there is nothing else to do about it then.
        let _ = pidfd_send_signal(child.pidfd.as_fd(), Signal::KILL);
    }
    mapped?;
    Ok(go)
}
