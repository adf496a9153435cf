//! The first process of the outer sandbox: builds that sandbox, starts the zygote in it, and builds slots on request.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitOptions, WaitStatus, pidfd_send_signal, wait};

use super::first_process;
use super::networks::Networks;
use super::zygote_process::ZygoteProcess;
use crate::channel::{Failure, Received, Rehearsal, SlotMessage, SpawnerMessage, SpawnerReport, receive, send};
use crate::launch::Launch;
use crate::sandbox::{self, Policy, StepError, step};

/// Never returns. When this process ends, the kernel kills everything in the outer sandbox.
pub fn run(policy: &Policy, launch: &Launch, interpreter: &OwnedFd, wait_for_go: OwnedFd) -> ! {
    if first_process::await_go(&wait_for_go) {
        let failure = match start(policy, launch, &wait_for_go) {
            Ok(Some((mut zygote, ends))) => serve(policy, interpreter, &mut zygote, &ends),
            Ok(None) => None,
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            // It fails only if the interpreter has ended.
            let _ = send(interpreter, &SpawnerReport::Failed(failure), &[]);
        }
    }
    std::process::exit(0)
}

/// The zygote, and a signalfd for SIGCHLD. `None` if the parent, which holds the other end of `parent`, has ended.
fn start(policy: &Policy, launch: &Launch, parent: &OwnedFd) -> Result<Option<(ZygoteProcess, OwnedFd)>, Failure> {
    sandbox::build_outer(policy)?;
    // The parent may have ended before this process set its parent-death signal.
    let mut hung_up = [PollFd::new(parent, PollFlags::IN)];
    if poll(&mut hung_up, Some(&Timespec::default())) != Ok(0) {
        return Ok(None);
    }
    let ends = step("watch children", sandbox::block_child_signal)?;
    Ok(Some((ZygoteProcess::start(policy, launch)?, ends)))
}

/// Serves until the interpreter closes its socket, or the zygote fails: then the failure is returned.
fn serve(policy: &Policy, interpreter: &OwnedFd, zygote: &mut ZygoteProcess, ends: &OwnedFd) -> Option<Failure> {
    let mut networks = Networks::new(policy.network);
    loop {
        let watched = [interpreter.as_fd(), zygote.socket.as_fd(), zygote.output.as_fd(), ends.as_fd()];
        let mut list = watched.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        match poll(&mut list, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Some(zygote.failure(&error.to_string())),
            Ok(_) => {}
        }
        let [asked, from_zygote, printed, ended] = list.map(|entry| !entry.revents().is_empty());
        if printed {
            zygote.log_output();
        }
        if from_zygote {
            match zygote.receive() {
                Ok(Some(report)) => drop(send(interpreter, &report, &[])),
                Ok(None) => {}
                // The zygote has closed its socket. Its wait status tells why.
                Err(_) => {
                    let waited = rustix::process::waitpid(Some(zygote.process), WaitOptions::empty());
                    return Some(zygote.end(waited.ok().flatten().map(|(_, status)| status)));
                }
            }
        }
        if ended && let Some(status) = reap(ends, zygote, &mut networks) {
            return Some(zygote.end(Some(status)));
        }
        if asked {
            match receive(interpreter) {
                Ok(Some(Received { message: SpawnerMessage::Spawn(rehearsal), descriptors, .. })) => {
                    spawn(policy, zygote, &mut networks, rehearsal, &descriptors);
                }
                Ok(Some(_)) => {}
                // The message's descriptors are lost. The interpreter notices it: the slot's socket is closed.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
                    tracing::warn!(%error, "cannot build a slot");
                }
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

/// Reaps every child that has ended: slots' first processes and orphans of the zygote. Returns how the zygote ended, if it did.
fn reap(ends: &OwnedFd, zygote: &ZygoteProcess, networks: &mut Networks) -> Option<WaitStatus> {
    let _ = rustix::io::read(ends, &mut [0; 1024]);
    let mut how = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == zygote.process {
            how = Some(status);
        }
        networks.ended(pid);
    }
    how
}

/// Builds one slot. An error is sent on the slot's own socket.
fn spawn(
    policy: &Policy,
    zygote: &ZygoteProcess,
    networks: &mut Networks,
    rehearsal: Rehearsal,
    descriptors: &[OwnedFd],
) {
    if let [control, ..] = descriptors
        && let Err(error) = try_spawn(policy, zygote, networks, rehearsal, control, descriptors)
        && let Err(lost) = send(control, &SlotMessage::Failed(error.into()), &[])
    {
        tracing::debug!(error = %lost, "nothing waits for this slot any more");
    }
}

fn try_spawn(
    policy: &Policy,
    zygote: &ZygoteProcess,
    networks: &mut Networks,
    rehearsal: Rehearsal,
    control: &OwnedFd,
    descriptors: &[OwnedFd],
) -> Result<(), StepError> {
    let (wait, go) = step("make a pipe", || Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?))?;
    step("make a slot's network", || networks.enter_next())?;
    let cloned = step("create a slot's namespaces", || sandbox::clone_into_namespaces(0))?;
    let Some(child) = cloned else {
        // In the slot's first process.
        first_process::run(policy, &zygote.socket, rehearsal, descriptors, wait)
    };
    networks.give_next(child.pid);
    let told = sandbox::map_slot_identity(&child)
        .and_then(|()| step("report the slot", || send(control, &SlotMessage::Spawned, &[child.pidfd.as_fd()])))
        .and_then(|()| step("start the slot", || io::Result::Ok(rustix::io::write(&go, b"g").map(drop)?)));
    if told.is_err() {
        // It fails only if the process has ended already.
        let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
    }
    told
}
