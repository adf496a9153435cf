//! Reads the files of an interpreter by their ids.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use python_interpreter::wire::is_file_id;
use rustix::fs::OFlags;

/// How long one read may take.
pub const FILE_DEADLINE: Duration = Duration::from_secs(30);

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub bytes: Vec<u8>,
    /// The size of the whole file, in bytes.
    pub total: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("there is no file with the id {0:?}: the id is wrong, or the file has expired")]
    Missing(String),
    #[error("the interpreter cannot be reached")]
    NotReached,
    #[error(
        "the interpreter service keeps its files to itself: name the directory that holds them with PYTHON_INTERPRETER_MCP_FILES"
    )]
    NoSource,
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
}

pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Part, FileError>> + Send + 'a>>;

/// A store of files.
pub trait FileSource: Send + Sync {
    /// Reads up to `length` bytes, from `offset` on. Beyond the end there are none.
    fn read<'a>(&'a self, id: &'a str, offset: u64, length: u64) -> Reading<'a>;
}

/// The directory in which a service stores its files, each under its id.
pub struct Directory(pub PathBuf);

impl FileSource for Directory {
    fn read<'a>(&'a self, id: &'a str, offset: u64, length: u64) -> Reading<'a> {
        Box::pin(async move {
            if !is_file_id(id) {
                return Err(FileError::Missing(id.to_owned()));
            }
            let path = self.0.join(id);
            // It may be on a network file system.
            let read = tokio::task::spawn_blocking(move || read_part(path, offset, length));
            let read = tokio::time::timeout(FILE_DEADLINE, read).await.map_err(|_| late())?;
            match read.map_err(io::Error::other).and_then(|read| read) {
                Ok(part) => Ok(part),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FileError::Missing(id.to_owned())),
                Err(error) => Err(FileError::Unreadable(error.to_string())),
            }
        })
    }
}

pub fn late() -> FileError {
    FileError::Unreadable(format!("it did not arrive within {FILE_DEADLINE:?}"))
}

fn read_part(path: PathBuf, offset: u64, length: u64) -> io::Result<Part> {
    // No symbolic link is followed, and a pipe does not block.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    let status = file.metadata()?;
    if !status.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut bytes = Vec::new();
    if offset >= status.len() {
        return Ok(Part { bytes, total: status.len() });
    }
    file.seek(SeekFrom::Start(offset))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(Part { bytes, total: status.len() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn a_part_of_a_file_is_read_and_no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("id"), "0123456789").unwrap();
        symlink("/etc/passwd", directory.path().join("link")).unwrap();
        let source = Directory(directory.path().to_owned());
        let part = |offset, length| source.read("id", offset, length);
        assert_eq!(part(2, 3).await.unwrap(), Part { bytes: b"234".to_vec(), total: 10 });
        for beyond in [10, 20, u64::MAX] {
            assert_eq!(part(beyond, 3).await.unwrap(), Part { bytes: Vec::new(), total: 10 });
        }
        for id in ["missing", "../id", "", "."] {
            assert!(matches!(source.read(id, 0, 1).await, Err(FileError::Missing(_))), "{id}");
        }
        assert!(matches!(source.read("link", 0, 1).await, Err(FileError::Unreadable(_))));
    }
}
