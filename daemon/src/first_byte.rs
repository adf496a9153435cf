//! Tells from a connection's first byte which protocol it speaks. The byte is not consumed.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::UnixStream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Mcp,
}

/// Waits for the first byte: a capital letter begins an HTTP method, everything else is MCP. None if the other side has closed.
pub async fn protocol(stream: &UnixStream) -> io::Result<Option<Protocol>> {
    let mut first = [0];
    loop {
        stream.readable().await?;
        let peeked = stream
            .try_io(Interest::READABLE, || Ok(recv(stream, &mut first[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?.1));
        match peeked {
            // Closed before this process ran: nobody waits for the answer, so the request is not executed.
            Ok(_) if has_hung_up(stream)? => return Ok(None),
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(if first[0].is_ascii_uppercase() { Protocol::Http } else { Protocol::Mcp })),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the kernel has something to read.
pub fn has_spoken(stream: &UnixStream) -> bool {
    matches!(recv(stream, &mut [0][..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((_, length)) if length > 0)
}

/// Whether the other side has closed both directions.
fn has_hung_up(stream: &UnixStream) -> io::Result<bool> {
    let mut polled = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut polled, Some(&Timespec::default()))?;
    Ok(polled[0].revents().contains(PollFlags::HUP))
}
