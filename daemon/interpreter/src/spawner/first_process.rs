//! A slot's first process: builds the slot's mounts, asks the zygote for a child in it, and then only keeps the slot's namespaces alive.
//!
//! It is process 1 of the slot's pid namespace: when it ends, the kernel kills every process in the slot. It keeps its capabilities in
//! the slot's namespaces, so programs, which have none, cannot trace it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::channel::{Rehearsal, SlotMessage, send, send_bytes};
use crate::protocol::{LANDLOCK_STEP, SlotRequest, WORKSPACE};
use crate::sandbox::{self, Policy, StepError, step};

/// Never returns. `descriptors` are those of [`SpawnerMessage::Spawn`](crate::channel::SpawnerMessage::Spawn).
pub fn run(
    policy: &Policy,
    zygote: &OwnedFd,
    rehearsal: Rehearsal,
    descriptors: &[OwnedFd],
    wait_for_go: OwnedFd,
) -> ! {
    let ours = [zygote.as_fd(), wait_for_go.as_fd()];
    let kept: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).chain(ours).collect();
    let alone = step("close descriptors", || sandbox::keep_only(&kept));
    sandbox::reset_signals();
    // Every orphan in the slot becomes this process's child.
    sandbox::auto_reap();
    let built =
        alone.and_then(|()| if await_go(wait_for_go) { build(policy, zygote, rehearsal, descriptors) } else { Ok(()) });
    match built {
        // The interpreter reads the end of the slot's socket and pipes as the child's end, so only the child may hold them.
        Ok(()) => drop(sandbox::keep_only(&[])),
        Err(error) => {
            if let Some(control) = descriptors.first() {
                let _ = send(control, &SlotMessage::Failed(error.into()), &[]);
            }
            std::process::exit(1)
        }
    }
    loop {
        sandbox::pause();
    }
}

/// Waits until the parent has written the id maps; before that, nothing is permitted. False if the parent has ended.
pub fn await_go(pipe: impl AsFd) -> bool {
    matches!(rustix::io::read(pipe, &mut [0]), Ok(1))
}

fn build(policy: &Policy, zygote: &OwnedFd, rehearsal: Rehearsal, descriptors: &[OwnedFd]) -> Result<(), StepError> {
    sandbox::build_slot(policy)?;
    let rules = step(LANDLOCK_STEP, sandbox::rules)?;
    step("open the workspace", || {
        let workspace = rustix::fs::openat(CWD, WORKSPACE, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        descriptors.first().map_or(Ok(()), |control| send(control, &SlotMessage::Built, &[workspace.as_fd()]))
    })?;
    step("ask the zygote for a child", || {
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        let [control, stdout, stderr, group @ ..] = descriptors else { return Ok(()) };
        let request = SlotRequest {
            slot: own.as_fd(),
            control: control.as_fd(),
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            rules: rules.as_fd(),
            group: group.first().map(AsFd::as_fd),
        };
        let text = match rehearsal {
            Rehearsal::Nothing => SlotRequest::<()>::NOTHING,
            Rehearsal::Program => SlotRequest::<()>::PROGRAM,
            Rehearsal::Imports => SlotRequest::<()>::IMPORTS,
        };
        send_bytes(zygote, text, &request.into_list())
    })
}
