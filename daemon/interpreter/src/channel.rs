//! Messages with file descriptors over a SOCK_SEQPACKET pair: between the interpreter, its spawner, and what they start.
//!
//! All of them are this crate, from one build; programs never hold an end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::Pid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::sandbox::StepError;

/// Longest message: a job with all of its environment.
const MESSAGE_LIMIT: usize = 192 * 1024;
/// Longest message between ourselves.
const RECEIVE_LIMIT: usize = 64 * 1024;
/// Most descriptors in one message.
const DESCRIPTOR_LIMIT: usize = 8;

/// What the interpreter hears about one slot, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub enum SlotMessage {
    /// From the spawner: the slot's first process exists. With its pidfd.
    Spawned,
    /// From the slot's first process: its world is built. With the directory of `/workspace`.
    Built,
    /// From the child: isolated, and waiting for its job.
    Ready,
    /// From the zygote: the child has ended, with the status that wait(2) gives.
    Exited { status: i32, cpu_milliseconds: u64 },
    /// From the child or the zygote: the kernel refused a step of the sandbox.
    Refused { step: String, error: i32 },
    /// From any of us: it cannot be done.
    Failed(Failure),
}

#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Isolation(#[from] StepError),
    #[error("{python} cannot be made ready to run programs: {reason}")]
    Python { python: String, reason: String },
}

/// Sends one message. A full socket is an error, never a wait: nobody here sends more than a few.
pub fn send<M: Serialize>(socket: impl AsFd, message: &M, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_bytes(socket, &serde_json::to_vec(message)?, descriptors)
}

/// Sends one message as it is.
pub fn send_bytes(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.len() > MESSAGE_LIMIT || descriptors.len() > DESCRIPTOR_LIMIT {
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

/// A message with what came along.
pub struct Received<M> {
    pub message: M,
    pub descriptors: Vec<OwnedFd>,
    /// The process that sent it, as this process sees it, where the socket was told to pass that on.
    pub sender: Option<Pid>,
}

/// Receives one message; `None` at the end of the stream. Blocks or not as the socket does.
pub fn receive<M: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<Received<M>>> {
    let mut bytes = vec![0; RECEIVE_LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_LIMIT), ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        // There is room for all that is ever sent: this process may not open what came along.
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
