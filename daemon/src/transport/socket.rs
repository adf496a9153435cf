//! A client's socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::net::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

pub struct Socket(UnixStream);

impl Socket {
    pub fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Reads once into the spare capacity of `buffer`, which must not be empty. Returns the number of bytes; 0 is the end.
    pub fn try_read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.0.try_io(Interest::READABLE, || Ok(rustix::io::read(&self.0, spare_capacity(buffer))?))
    }

    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0.writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The client's further writes fail. What has arrived can still be read.
    pub fn stop_reading(&self) {
        // Fails only if the client is gone.
        let _ = shutdown(self, Shutdown::Read);
    }

    /// A separate registration with epoll, on a duplicate of the descriptor.
    #[expect(deprecated, reason = "an OwnedFd is what it is sound for, and what replaces it is an unsafe function")]
    pub fn watch(&self, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
        AsyncFd::with_interest(self.as_fd().try_clone_to_owned()?, interest)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
