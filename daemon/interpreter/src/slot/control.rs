//! The interpreter's ends of sockets to the spawner and to slots.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::Serialize;
use tokio::io::unix::AsyncFd;

use super::SlotError;
use crate::channel::{Received, SlotMessage, receive, send};

/// Sends to the spawner, when it is its turn: the socket holds only so many requests.
pub async fn request<M: Serialize>(
    spawner: &AsyncFd<OwnedFd>,
    message: &M,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), SlotError> {
    loop {
        let mut ready = spawner.writable().await?;
        match ready.try_io(|spawner| send(spawner.get_ref(), message, descriptors)) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                return Err(SlotError::SpawnerGone(error));
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_would_block) => {}
        }
    }
}

/// The next message of a slot.
pub async fn next(control: &AsyncFd<OwnedFd>) -> Result<Received<SlotMessage>, SlotError> {
    loop {
        let mut ready = control.readable().await?;
        match ready.try_io(|control| receive(control.get_ref())) {
            Ok(Ok(Some(received))) => return Ok(received),
            Ok(Ok(None)) => return Err(SlotError::Died),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Err(SlotError::Died),
            Ok(Err(error)) => return Err(error.into()),
            Err(_would_block) => {}
        }
    }
}

/// Whether there is nothing to read: neither a message nor the end.
pub fn is_quiet(control: &AsyncFd<OwnedFd>) -> bool {
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(control, &mut [0; 1][..], flags), Err(rustix::io::Errno::AGAIN))
}
