//! Reads what a program prints without slowing it down.
//!
//! Each `print` is a system call. If the reader waits, the call also wakes it, which takes longer than the rest of the call. So a reader rests between its
//! reads while the program prints often and little. The end of a program that printed so is noticed up to a rest later.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;
use tokio::time::{Instant, Sleep, sleep};

const REST: Duration = Duration::from_millis(1);
/// The reader rests after so many small pieces in a row. Each must come less than a `REST` after the one before.
const MANY: u32 = 16;
/// Bytes of the largest small piece. For larger ones the wake-up hardly counts.
const SMALL: usize = 4 * 1024;
/// If one rest gathers so many bytes, or half of what the pipe holds, the program prints fast, and the reader rests no more.
const MUCH: usize = 32 * 1024;
/// What a pipe holds while its reader rests, in bytes, if the kernel permits it.
const ROOM: usize = 256 * 1024;

/// The read end of a program's output.
pub struct Printing {
    pipe: Pipe,
    /// Small pieces in a row that came within a rest of each other.
    soon: u32,
    last: Instant,
}

enum Pipe {
    /// The event loop is told of every piece.
    Watched(pipe::Receiver),
    /// Nobody is told.
    Resting { pipe: OwnedFd, rest: Pin<Box<Sleep>>, much: usize },
    /// Changing from one to the other failed. Counts as the end.
    Lost,
}

impl From<pipe::Receiver> for Printing {
    fn from(pipe: pipe::Receiver) -> Self {
        Printing { pipe: Pipe::Watched(pipe), soon: 0, last: Instant::now() }
    }
}

impl AsyncRead for Printing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.pipe {
                Pipe::Watched(pipe) => {
                    let before = buffer.filled().len();
                    ready!(Pin::new(pipe).poll_read(context, buffer))?;
                    self.count(buffer.filled().len() - before);
                    return Poll::Ready(if self.soon < MANY { Ok(()) } else { self.rest() });
                }
                Pipe::Resting { pipe, rest, much } => {
                    ready!(rest.as_mut().poll(context));
                    match rustix::io::read(&*pipe, buffer.initialize_unfilled()) {
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => self.watch()?,
                        Err(error) => return Poll::Ready(Err(error.into())),
                        Ok(length) => {
                            buffer.advance(length);
                            rest.as_mut().reset(Instant::now() + REST);
                            return Poll::Ready(if length < *much { Ok(()) } else { self.watch() });
                        }
                    }
                }
                Pipe::Lost => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Printing {
    fn count(&mut self, length: usize) {
        let now = Instant::now();
        self.soon = if length <= SMALL && now - self.last < REST { self.soon + 1 } else { 0 };
        self.last = now;
    }

    fn rest(&mut self) -> io::Result<()> {
        if let Pipe::Watched(pipe) = std::mem::replace(&mut self.pipe, Pipe::Lost) {
            let pipe = pipe.into_nonblocking_fd()?;
            // Refused if the user's pipes take too much memory already.
            let room = fcntl_setpipe_size(&pipe, ROOM).or_else(|_| fcntl_getpipe_size(&pipe))?;
            self.pipe = Pipe::Resting { pipe, rest: Box::pin(sleep(REST)), much: MUCH.min(room / 2) };
        }
        Ok(())
    }

    fn watch(&mut self) -> io::Result<()> {
        if let Pipe::Resting { pipe, .. } = std::mem::replace(&mut self.pipe, Pipe::Lost) {
            self.pipe = Pipe::Watched(pipe::Receiver::from_owned_fd(pipe)?);
            self.soon = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::unix::pipe;

    use super::{MANY, Pipe, Printing};

    fn pair() -> (Printing, std::fs::File) {
        let (ours, theirs) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        (pipe::Receiver::from_owned_fd(ours).unwrap().into(), theirs.into())
    }

    async fn next(printing: &mut Printing) -> String {
        let mut buffer = vec![0; 64 * 1024];
        let length = tokio::time::timeout(Duration::from_secs(10), printing.read(&mut buffer)).await.unwrap().unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_rests_while_much_is_printed_in_small_pieces() {
        let (mut printing, mut program) = pair();
        for number in 0..MANY {
            assert!(matches!(printing.pipe, Pipe::Watched(_)), "after {number}");
            program.write_all(b"piece").unwrap();
            assert_eq!(next(&mut printing).await, "piece");
        }
        assert!(matches!(printing.pipe, Pipe::Resting { .. }));
        program.write_all(b"one ").unwrap();
        program.write_all(b"two").unwrap();
        assert_eq!(next(&mut printing).await, "one two");
        // Nothing came during a rest.
        let (read, ()) = tokio::join!(next(&mut printing), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            program.write_all(b"late").unwrap();
        });
        assert_eq!(read, "late");
        assert!(matches!(printing.pipe, Pipe::Watched(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_noticed_in_a_rest_and_nothing_before_it_is_lost() {
        let (mut printing, mut program) = pair();
        for _ in 0..MANY {
            program.write_all(b"piece").unwrap();
            next(&mut printing).await;
        }
        assert!(matches!(printing.pipe, Pipe::Resting { .. }));
        program.write_all("x".repeat(65_536 + 5).as_bytes()).unwrap();
        drop(program);
        assert_eq!(next(&mut printing).await.len(), 65_536);
        assert!(matches!(printing.pipe, Pipe::Watched(_)));
        assert_eq!(next(&mut printing).await, "xxxxx");
        assert_eq!(next(&mut printing).await, "");
    }

    #[tokio::test(start_paused = true)]
    async fn large_pieces_are_read_at_once() {
        let (mut printing, mut program) = pair();
        for _ in 0..3 * MANY {
            program.write_all(&[b'x'; 5000]).unwrap();
            assert_eq!(next(&mut printing).await.len(), 5000);
            assert!(matches!(printing.pipe, Pipe::Watched(_)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_prints_now_and_then_is_read_at_once() {
        let (mut printing, mut program) = pair();
        for _ in 0..3 * MANY {
            tokio::time::sleep(Duration::from_millis(5)).await;
            program.write_all(b"piece").unwrap();
            assert_eq!(next(&mut printing).await, "piece");
            assert!(matches!(printing.pipe, Pipe::Watched(_)));
        }
    }
}
