//! The log of a background process, and the last error in it.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::directory::state_directory;

/// How much of the log's end is read.
const LOG_END_BYTES: u64 = 4096;

/// The file with the stderr of a daemon that was started in the background.
pub fn daemon_log() -> Option<PathBuf> {
    Some(state_directory()?.join("daemon.log"))
}

/// Where to find out why a background process ended, with the last error in its log if there is one.
pub fn reason_in(log: Option<&Path>) -> String {
    let Some(log) = log else { return "and it has no log: run it by hand to see why".to_owned() };
    let look = format!("see {}", log.display());
    last_error(log).map_or(look.clone(), |error| format!("{look}: {error}"))
}

/// The last line of the log that is an error of the command line or of the start.
fn last_error(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_END_BYTES))).ok()?;
    let mut end = Vec::new();
    file.take(LOG_END_BYTES).read_to_end(&mut end).ok()?;
    let end = String::from_utf8_lossy(&end);
    let is_error = |line: &&str| line.starts_with("error: ") || line.starts_with("python-interpreter-mcpd: ");
    end.lines().rev().take(6).find(is_error).map(|line| line.chars().take(400).collect())
}
