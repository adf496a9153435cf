//! The configuration, the directory of the sockets and the state directory.

use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use python_interpreter_mcp::endpoint::{self, Socket};

use super::finding::Finding;
use crate::cli::running::is_only_listened_for;
use crate::cli::services::{commands, configured};
use crate::config;

/// The size that the files of one program may have.
const LITTLE_BYTES: u64 = 64 * 1024 * 1024;

pub fn configuration() -> Finding {
    const NAME: &str = "configuration";
    match configured(commands()) {
        Err(error) => Finding::failed(NAME, format!("{error:#}")),
        Ok(_) => Finding::ok(
            NAME,
            match config::path() {
                Some(path) if path.exists() => path.display().to_string(),
                Some(path) => format!("defaults; {} is not there", path.display()),
                None => "defaults".to_owned(),
            },
        ),
    }
}

/// Whether files and logs can be kept, found by writing one.
pub fn state() -> Finding {
    const NAME: &str = "state";
    let directory = match endpoint::state_directory().ok_or_else(endpoint::state_place) {
        Ok(directory) => directory,
        Err(None) => {
            return Finding::failed(
                NAME,
                "neither HOME nor XDG_STATE_HOME is an absolute path: set one, or files and logs are kept beside the socket only",
            );
        }
        Err(Some(wanted)) => return unusable(NAME, &wanted, &cannot_make(&wanted)),
    };
    match try_writing(&directory) {
        Err(error) => unusable(NAME, &directory, &error),
        Ok(()) => match free_bytes(&directory) {
            Ok(free) if free < LITTLE_BYTES => Finding::failed(
                NAME,
                format!(
                    "the disk of {} is nearly full ({} MiB are free): free some space",
                    directory.display(),
                    free >> 20
                ),
            ),
            _ => Finding::ok(NAME, directory.display().to_string()),
        },
    }
}

fn cannot_make(directory: &Path) -> io::Error {
    std::fs::create_dir_all(directory).err().unwrap_or_else(|| io::Error::other("it cannot be made"))
}

fn unusable(name: &'static str, directory: &Path, error: &io::Error) -> Finding {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full: free some space",
        io::ErrorKind::ReadOnlyFilesystem => {
            "it is on a read-only file system: set XDG_STATE_HOME to a directory that can be written to"
        }
        io::ErrorKind::PermissionDenied => {
            "make it yours and writable, or set XDG_STATE_HOME to a directory that is (files and logs are kept beside the socket meanwhile)"
        }
        _ => "set XDG_STATE_HOME to a directory that can be written to",
    };
    Finding::failed(name, format!("{} cannot be written to ({error}): {remedy}", directory.display()))
}

fn try_writing(directory: &Path) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(directory)?;
    // More than one block: some file systems give that much even when they are full.
    file.write_all(&[0; 64 * 1024])?;
    file.sync_data()
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail * found.f_frsize)
}

pub fn sockets() -> Finding {
    const NAME: &str = "sockets";
    let paths = match [Socket::Mcp, Socket::Interpreter].map(endpoint::socket_path) {
        [Ok(mcp), Ok(interpreter)] => [mcp, interpreter],
        [Err(error), _] | [_, Err(error)] => return Finding::failed(NAME, error.to_string()),
    };
    for (socket, path) in [Socket::Mcp, Socket::Interpreter].into_iter().zip(&paths) {
        if is_only_listened_for(socket) {
            continue;
        }
        match endpoint::connect(path) {
            Err(error) => return Finding::failed(NAME, error.to_string()),
            Ok(None) if path.exists() && !is_socket(path) => {
                let path = path.display();
                return Finding::failed(NAME, format!("{path} is in the way of the socket: remove it (`rm {path}`)"));
            }
            Ok(None) if path.exists() => {
                let path = path.display();
                return Finding::note(
                    NAME,
                    format!(
                        "{path} is stale, nobody listens there: there is nothing to do, whoever is started next replaces it"
                    ),
                );
            }
            Ok(_) => {}
        }
    }
    let directory = paths[0].parent().unwrap_or(&paths[0]);
    Finding::ok(NAME, directory.display().to_string())
}
