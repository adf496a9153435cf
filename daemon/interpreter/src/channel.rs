//! Messages with file descriptors over a SOCK_SEQPACKET pair: between the interpreter, its spawner and each slot's first process.
//!
//! All three are this crate, from one build; programs never hold an end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::sandbox::StepError;

/// Longest message; what can be longer (a job) travels in a memfd.
const MESSAGE_LIMIT: usize = 64 * 1024;
/// Most descriptors in one message, below the kernel's own limit of 253.
pub const DESCRIPTOR_LIMIT: usize = 250;

/// What the interpreter hears about one slot, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub enum SlotMessage {
    /// From the spawner: the slot's first process exists. With its pidfd.
    Spawned,
    /// From the slot's first process: isolated and waiting for its job. With the directory of `/workspace`.
    Ready,
    /// From the slot's first process: Python has ended.
    Exited(Exit),
    /// From either: it cannot be done.
    Failed(Failure),
}

/// How Python's own process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Isolation(#[from] StepError),
    #[error("cannot start {python}: {reason}")]
    Python { python: String, reason: String },
    #[error("cannot write {path} into the workspace: {reason}")]
    Workspace { path: String, reason: String },
}

/// Sends one message. A full socket is an error, never a wait: nobody here sends more than a few.
pub fn send<M: Serialize>(socket: impl AsFd, message: &M, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_LIMIT || descriptors.len() > DESCRIPTOR_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_LIMIT))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message; `None` at the end of the stream. Blocks or not as the socket does.
pub fn receive<M: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MESSAGE_LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_LIMIT))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was cut off"));
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, descriptors)))
}
