//! The interpreter's end of a slot's socket.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::unix::AsyncFd;

use super::error::SlotError;
use crate::channel::{Received, SlotMessage, receive, send_bytes};

pub struct Control(pub AsyncFd<OwnedFd>);

impl Control {
    /// The slot's next message.
    pub async fn next(&self) -> Result<Received<SlotMessage>, SlotError> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|socket| receive(socket.get_ref())) {
                Ok(Ok(Some(received))) => return Ok(received),
                Ok(Ok(None)) => return Err(SlotError::Died),
                Ok(Err(error)) if SlotError::is_hang_up(&error) => return Err(SlotError::Died),
                Ok(Err(error)) => return Err(error.into()),
                Err(_would_block) => {}
            }
        }
    }

    pub fn send_job(&self, job: &[u8]) -> Result<(), SlotError> {
        match send_bytes(&self.0, job, &[]) {
            // Neither the child nor the zygote holds the other end any more.
            Err(error) if SlotError::is_hang_up(&error) => Err(SlotError::Died),
            result => Ok(result?),
        }
    }

    /// Whether there is nothing to read: no message, and no end of the stream.
    pub fn is_quiet(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(&self.0, &mut [0; 1][..], flags), Err(Errno::AGAIN))
    }
}
