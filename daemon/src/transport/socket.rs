//! A client's socket, registered with epoll for reading only. tokio's `UnixStream` registers for writing as well, which wakes the daemon
//! whenever the client has read an answer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::net::UnixStream;

pub struct Socket(AsyncFd<OwnedFd>);

/// A socket that probably has something to read.
pub struct Readable<'socket>(AsyncFdReadyGuard<'socket, OwnedFd>);

impl Socket {
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self(register(stream.into_std()?.into(), Interest::READABLE)?))
    }

    pub async fn readable(&self) -> io::Result<Readable<'_>> {
        Ok(Readable(self.0.readable().await?))
    }

    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut room = None;
        while !bytes.is_empty() {
            match send(self, bytes, SendFlags::NOSIGNAL) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let room = match &mut room {
                        Some(room) => room,
                        none => none.insert(self.watch(Interest::WRITABLE)?),
                    };
                    // Clear readiness before retrying so that no wake-up is lost.
                    room.writable().await?.clear_ready();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The client's further writes fail. What has arrived can still be read.
    pub fn stop_reading(&self) {
        // Fails only if the client is gone.
        let _ = shutdown(self, Shutdown::Read);
    }

    /// A separate registration, on a duplicate of the descriptor.
    pub fn watch(&self, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
        register(self.as_fd().try_clone_to_owned()?, interest)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl Readable<'_> {
    /// Reads once into the spare capacity of `buffer`, which must not be empty. Returns the number of bytes.
    pub fn read(mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let room = buffer.capacity() - buffer.len();
        let read = rustix::io::read(self.0.get_inner(), spare_capacity(buffer));
        // A short read has emptied the socket: epoll reports the next bytes, or the end, again.
        if matches!(read, Ok(length) if length < room) || read == Err(Errno::AGAIN) {
            self.0.clear_ready();
        }
        Ok(read?)
    }
}

#[expect(deprecated, reason = "an OwnedFd is what it is sound for, and what replaces it is an unsafe function")]
fn register(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, interest)
}
