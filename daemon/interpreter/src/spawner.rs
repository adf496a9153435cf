//! The spawner: a process with a single thread that makes slots for the interpreter. It holds no data of any call.
//!
//! The interpreter cannot clone itself into namespaces, because the child of a clone goes on with a copy of its memory, locks
//! that other threads hold included. The spawner's standard input is its socket; when that ends, or the interpreter dies, so
//! does the spawner, and with it every slot.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::process::{Signal, pidfd_send_signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::channel::{SlotMessage, receive, send};
use crate::python::Launch;
use crate::sandbox::{self, Policy, StepError, step};
use crate::slot::first_process;

/// What the interpreter tells its spawner.
#[derive(Debug, Serialize, Deserialize)]
pub enum SpawnerMessage {
    /// First and once: what slots are made of.
    Prepare(Box<Policy>, Launch),
    /// One slot. With the slot's socket, its stdout and its stderr.
    Spawn,
}

/// Serves the socket on standard input until it ends.
pub fn run() -> ExitCode {
    match serve(io::stdin().as_fd()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the spawner stops");
            ExitCode::FAILURE
        }
    }
}

fn serve(interpreter: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    // An interpreter that died before this line has closed the socket: the first receive ends.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sandbox::reap_children_automatically();
    let Some((SpawnerMessage::Prepare(policy, launch), _)) = receive(interpreter)? else {
        return Ok(());
    };
    while let Some((message, descriptors)) = receive(interpreter)? {
        if let (SpawnerMessage::Spawn, Ok(descriptors)) = (message, <[OwnedFd; 3]>::try_from(descriptors)) {
            spawn(&policy, &launch, descriptors);
        }
    }
    Ok(())
}

/// Makes one slot; whatever goes wrong is told on the slot's own socket, whose other end reads it.
fn spawn(policy: &Policy, launch: &Launch, descriptors: [OwnedFd; 3]) {
    if let Err(error) = try_spawn(policy, launch, &descriptors)
        && let Err(lost) = send(&descriptors[0], &SlotMessage::Failed(error.into()), &[])
    {
        tracing::debug!(error = %lost, "nobody waits for this slot any more");
    }
}

fn try_spawn(policy: &Policy, launch: &Launch, descriptors: &[OwnedFd; 3]) -> Result<(), StepError> {
    let (wait, go) = step("make a pipe", || Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?))?;
    let Some(child) = step("create namespaces", sandbox::clone_into_namespaces)? else {
        // In the slot. Whatever this process had open is not the slot's business.
        first_process::run(policy, launch, descriptors, wait)
    };
    let told = sandbox::map_identity(policy, &child)
        .and_then(|()| step("report the slot", || send(&descriptors[0], &SlotMessage::Spawned, &[child.pidfd.as_fd()])))
        .and_then(|()| step("start the slot", || Ok(rustix::io::write(&go, b"g").map(drop)?)));
    if told.is_err() {
        // It may be gone already; there is nothing else to do about it then.
        let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
    }
    told
}
