//! Messages with file descriptors, over pairs of SOCK_SEQPACKET sockets: between the interpreter, its spawner, the slots' first
//! processes and the zygote.
//!
//! Both ends are always processes of this build. Programs never hold an end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::Pid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::launch::Launch;
use crate::protocol::JOB_LIMIT;
use crate::sandbox::{Policy, StepError};

/// Longest message that is received here, in bytes. Jobs may be longer, but only the zygote's children receive those.
const RECEIVE_LIMIT: usize = 64 * 1024;
/// Most descriptors in one message.
const DESCRIPTOR_LIMIT: usize = 8;

/// From the interpreter to its spawner.
#[derive(Debug, Serialize, Deserialize)]
pub enum SpawnerMessage {
    /// The first message: what slots are built from, and which Python runs in them.
    Prepare(Box<Policy>, Launch),
    /// Build one slot. Descriptors: the slot's socket, its stdout, its stderr and, if it has a control group, `cgroup.procs`.
    Spawn(Rehearsal),
}

/// What a slot's child does ahead of its program, so that the program runs faster. It costs time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rehearsal {
    /// Nothing: a call may wait for the child.
    Nothing,
    /// It runs a small program.
    Program,
    /// The same, and it imports the modules that were imported ahead.
    Imports,
}

/// From the spawner to the interpreter.
#[derive(Debug, Serialize, Deserialize)]
pub enum SpawnerReport {
    /// The zygote is ready: slots can be built.
    Ready,
    /// The modules that the zygote has imported, without those that were learned. Not if it has none to learn.
    Imported(Vec<String>),
    /// What became of a learned module.
    Tried(Tried),
    /// The spawner ends for this reason.
    Failed(Failure),
}

/// What became of a module that the zygote was to import if it can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub name: String,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It is imported.
    Loaded,
    /// There is no such module.
    Absent,
    /// It is not imported for this reason.
    LeftOut(String),
    /// There was no time to try it.
    Postponed,
}

/// What the interpreter is told about one slot, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub enum SlotMessage {
    /// From the spawner: the slot's first process exists. Descriptor: its pidfd.
    Spawned,
    /// From the slot's first process: its mounts are built. Descriptor: the directory `/workspace`.
    Built,
    /// From the child: it is isolated and waits for its job. Descriptor: the listener of its seccomp filter, if it has one.
    Ready,
    /// From the zygote: the child has ended. `status` is that of wait(2).
    Exited { status: i32, cpu_milliseconds: u64 },
    /// From the child or the zygote: a step of the sandbox failed. `error` is an errno, or 0.
    Refused { step: String, error: i32 },
    /// From the spawner or the first process: the slot cannot be built.
    Failed(Failure),
}

#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Isolation(#[from] StepError),
    #[error("{python} cannot be prepared to run programs: {reason}")]
    Python { python: String, reason: String },
    #[error("{0} was killed while it was prepared to run programs: memory ran out, or somebody ended it")]
    Killed(String),
}

/// Sends one message as JSON. On a non-blocking socket, a full one is an error and never a wait.
pub fn send<M: Serialize>(socket: impl AsFd, message: &M, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_bytes(socket, &serde_json::to_vec(message)?, descriptors)
}

/// Sends one message as bytes.
pub fn send_bytes(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.len() > JOB_LIMIT || descriptors.len() > DESCRIPTOR_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_LIMIT))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A message with its descriptors.
pub struct Received<M> {
    pub message: M,
    pub descriptors: Vec<OwnedFd>,
    /// The id of the sending process in this process's pid namespace, if the socket has SO_PASSCRED.
    pub sender: Option<Pid>,
}

/// Receives one message; `None` at the end of the stream.
pub fn receive<M: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<Received<M>>> {
    let mut bytes = vec![0; RECEIVE_LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_LIMIT), ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        // The buffer has room for every descriptor that is sent, so this process must have reached its limit of open files.
        return Err(rustix::io::Errno::MFILE.into());
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was cut off"));
    }
    let (mut descriptors, mut sender) = (Vec::new(), None);
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(rights) => descriptors.extend(rights),
            RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials.pid),
            _ => {}
        }
    }
    Ok(Some(Received { message: serde_json::from_slice(&bytes[..received.bytes])?, descriptors, sender }))
}

#[cfg(test)]
mod tests {
    use super::SlotMessage;
    use crate::protocol::Report;

    /// The zygote has no serde.
    #[test]
    fn the_zygotes_reports_are_slot_messages() {
        let read = |report: Report| serde_json::from_str::<SlotMessage>(&report.write()).unwrap();
        assert!(matches!(read(Report::Ready), SlotMessage::Ready));
        let exited = read(Report::Exited { status: 9, cpu_milliseconds: u64::MAX });
        assert!(matches!(exited, SlotMessage::Exited { status: 9, cpu_milliseconds: u64::MAX }));
        let refused = read(Report::Refused { step: "join the slot", error: 1 });
        assert!(matches!(refused, SlotMessage::Refused { step, error: 1 } if step == "join the slot"));
    }
}
