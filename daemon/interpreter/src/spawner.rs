//! The spawner: builds the outer sandbox, and in it the zygote and the slots. It holds no data of any call.
//!
//! The interpreter cannot clone itself into namespaces: it has several threads, and in the child of a clone the locks that other threads
//! hold would stay locked forever. The spawner is two processes with one thread each. The outer one only waits. The inner one is the first process of
//! the outer sandbox and does the work. Their standard input is a socket to the interpreter. When it is closed, or the interpreter dies,
//! both end, and with them the zygote and every slot.

mod first_process;
mod handle;
mod inside;
mod networks;
mod zygote_process;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitOptions, pidfd_send_signal, set_parent_process_death_signal, wait};

use crate::channel::{Failure, Received, SpawnerMessage, SpawnerReport, receive, send};
use crate::launch::Launch;
use crate::sandbox::{self, Policy, step};
pub use handle::SpawnerHandle;

/// Runs a spawner until its standard input, the interpreter's socket, is closed.
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
    // If the interpreter died before this call, its socket is closed, and the first receive ends.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sandbox::reset_signals();
    sandbox::block_termination_signals()?;
    let interpreter = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(null)?;
    let Some(Received { message: SpawnerMessage::Prepare(policy, launch), .. }) = receive(&interpreter)? else {
        return Ok(());
    };
    // A pipe that stays open as long as this process lives: the inner process notices this one's death by it.
    let _alive = match make_outer(&policy, &launch, &interpreter) {
        Ok(alive) => alive,
        Err(failure) => return send(&interpreter, &SpawnerReport::Failed(failure), &[]),
    };
    // From here on only the inner process holds the socket, so the interpreter notices its end.
    drop(interpreter);
    wait(WaitOptions::empty())?;
    Ok(())
}

fn make_outer(policy: &Policy, launch: &Launch, interpreter: &OwnedFd) -> Result<OwnedFd, Failure> {
    let (wait, go) = step("make a pipe", || Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?))?;
    let cloned = step("create namespaces", || {
        sandbox::clone_into_namespaces(libc::CLONE_NEWCGROUP | policy.network.namespace())
    })?;
    let Some(child) = cloned else {
        drop(go);
        inside::run(policy, launch, interpreter, wait)
    };
    let mapped = sandbox::map_identity(policy, &child)
        .and_then(|()| step("start in the sandbox", || Ok(rustix::io::write(&go, b"g").map(drop)?)));
    if mapped.is_err() {
        // It fails only if the process has ended already.
        let _ = pidfd_send_signal(child.pidfd.as_fd(), Signal::KILL);
    }
    mapped?;
    Ok(go)
}
