//! Writes a long output stream to a file. The disk may be slow or hang, so writes are made on a blocking thread. Meanwhile nothing more is
//! read from the program, which waits within its own time limit.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::files::FileStore;

/// How long the disk may take after the program's end, and again to put the file into the store.
pub const STORE_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes collected before a write, because each write costs a change of threads.
const PIECE: usize = 256 * 1024;

pub struct Whole {
    store: Arc<FileStore>,
    /// `None` until the first write, and during each write.
    file: Option<File>,
    pending: Vec<u8>,
    length: u64,
    limit: u64,
    failure: Option<io::Error>,
}

impl Whole {
    /// Stores at most the first `limit` bytes.
    pub fn new(store: Arc<FileStore>, limit: u64) -> Self {
        Whole { store, file: None, pending: Vec::new(), length: 0, limit, failure: None }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        let room = usize::try_from(self.limit - self.length).unwrap_or(usize::MAX).min(bytes.len());
        self.pending.extend_from_slice(&bytes[..room]);
        self.length += room as u64;
    }

    /// Writes if enough bytes are pending, or at the end whatever is left. Gives up when `late` is cancelled.
    pub async fn write(&mut self, is_end: bool, late: &CancellationToken) {
        if self.pending.is_empty() || (!is_end && self.pending.len() < PIECE) {
            return;
        }
        let (store, file, mut pending) = (self.store.clone(), self.file.take(), std::mem::take(&mut self.pending));
        let work = tokio::task::spawn_blocking(move || {
            let mut file = file.map_or_else(|| store.scratch(), Ok)?;
            file.write_all(&pending)?;
            pending.clear();
            pending.shrink_to(PIECE);
            Ok::<_, io::Error>((file, pending))
        });
        let written = tokio::select! {
            written = work => written.unwrap_or_else(|error| Err(error.into())),
            () = late.cancelled() => Err(too_slow()),
        };
        match written {
            Ok((file, pending)) => (self.file, self.pending) = (Some(file), pending),
            Err(error) => self.failure = Some(error),
        }
    }

    /// The file, positioned at its beginning, and its length in bytes.
    pub fn end(mut self) -> io::Result<(File, u64)> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let mut file = self.file.take().ok_or_else(|| io::Error::other("nothing was written"))?;
        file.rewind()?;
        Ok((file, self.length))
    }
}

pub fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the disk did not take it within {STORE_DEADLINE:?}"))
}

impl Drop for Whole {
    /// The file has no name, so closing it frees its blocks. A slow disk makes that slow as well.
    fn drop(&mut self) {
        if let (Some(file), Ok(runtime)) = (self.file.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(file));
        }
    }
}
