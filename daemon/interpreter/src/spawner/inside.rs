//! The first process of the outer sandbox: builds it, starts the zygote in it, and makes slots when the interpreter asks for them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitOptions, WaitStatus, pidfd_send_signal, wait};

use super::zygote::Zygote;
use super::{Need, SpawnerMessage, SpawnerReport};
use crate::channel::{Failure, Received, SlotMessage, receive, send};
use crate::python::Launch;
use crate::sandbox::{self, Policy, StepError, step};
use crate::slot::first_process;

/// Never returns: everything in the outer sandbox ends with it.
pub fn run(policy: &Policy, launch: &Launch, interpreter: &OwnedFd, wait_for_go: OwnedFd) -> ! {
    if first_process::await_go(&wait_for_go) {
        let failure = match start(policy, launch, &wait_for_go) {
            Ok(Some((mut zygote, ends))) => serve(policy, interpreter, &mut zygote, &ends),
            Ok(None) => None,
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            // If nobody listens any more, nobody needs to know.
            let _ = send(interpreter, &SpawnerReport::Failed(failure), &[]);
        }
    }
    std::process::exit(0)
}

/// None if there is no parent any more, which holds the other end of `parent` as long as it lives.
fn start(policy: &Policy, launch: &Launch, parent: &OwnedFd) -> Result<Option<(Zygote, OwnedFd)>, Failure> {
    sandbox::build_outer(policy)?;
    // It may have died before this process asked to die with it.
    let mut hung_up = [PollFd::new(parent, PollFlags::IN)];
    if poll(&mut hung_up, Some(&Timespec::default())) != Ok(0) {
        return Ok(None);
    }
    let ends = step("watch children", sandbox::child_ends)?;
    Ok(Some((Zygote::start(policy, launch)?, ends)))
}

/// Until the interpreter closes its socket, or something is wrong.
fn serve(policy: &Policy, interpreter: &OwnedFd, zygote: &mut Zygote, ends: &OwnedFd) -> Option<Failure> {
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
                Ok(()) => drop(send(interpreter, &SpawnerReport::Ready, &[])),
                // It has ended, or is about to: how, is known when it is reaped.
                Err(_) => return Some(zygote.failure(&zygote_end(zygote))),
            }
        }
        if ended && let Some(how) = reap(ends, zygote) {
            return Some(zygote.failure(&how));
        }
        if asked {
            match receive(interpreter) {
                Ok(Some(Received { message: SpawnerMessage::Spawn(need), descriptors, .. })) => {
                    spawn(policy, zygote, need, &descriptors);
                }
                Ok(Some(_)) => {}
                // The slot's socket is closed with the message, which tells whoever waits for it.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
                    tracing::warn!(%error, "a slot cannot be made");
                }
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

/// Reaps first processes of slots, and whatever the zygote left; says how the zygote ended, if it did.
fn reap(ends: &OwnedFd, zygote: &Zygote) -> Option<String> {
    let _ = rustix::io::read(ends, &mut [0; 1024]);
    let mut how = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == zygote.process {
            how = Some(describe(status));
        }
    }
    how
}

fn zygote_end(zygote: &Zygote) -> String {
    let ended = rustix::process::waitpid(Some(zygote.process), WaitOptions::empty());
    ended.ok().flatten().map_or_else(|| "it has ended".to_owned(), |(_, status)| describe(status))
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => format!("it was ended by signal {signal}"),
        (code, None) => format!("it ended with exit code {}", code.unwrap_or_default()),
    }
}

/// Makes one slot; whatever goes wrong is told on the slot's own socket, whose other end reads it.
fn spawn(policy: &Policy, zygote: &Zygote, need: Need, descriptors: &[OwnedFd]) {
    if let [control, ..] = descriptors
        && let Err(error) = try_spawn(policy, zygote, need, control, descriptors)
        && let Err(lost) = send(control, &SlotMessage::Failed(error.into()), &[])
    {
        tracing::debug!(error = %lost, "nobody waits for this slot any more");
    }
}

fn try_spawn(
    policy: &Policy,
    zygote: &Zygote,
    need: Need,
    control: &OwnedFd,
    descriptors: &[OwnedFd],
) -> Result<(), StepError> {
    let (wait, go) = step("make a pipe", || Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?))?;
    let cloned = step("create a slot's namespaces", || sandbox::clone_into_namespaces(policy.network, false))?;
    let Some(child) = cloned else {
        // In the slot. Whatever this process had open is not the slot's business.
        first_process::run(policy, &zygote.socket, need, descriptors, wait)
    };
    let told = sandbox::map_slot_identity(&child)
        .and_then(|()| step("report the slot", || send(control, &SlotMessage::Spawned, &[child.pidfd.as_fd()])))
        .and_then(|()| step("start the slot", || io::Result::Ok(rustix::io::write(&go, b"g").map(drop)?)));
    if told.is_err() {
        // It may be gone already; there is nothing else to do about it then.
        let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
    }
    told
}
