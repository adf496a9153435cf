//! The answer to a request: the exit code, the files and the output. Output that is too long is shortened, and stored as a file. A line
//! is added to `stderr` for everything that a program does not expect, such as a limit that stopped it.

use std::io::{self, Read};
use std::sync::Arc;

use tokio::time::timeout;

use indexmap::IndexMap;

use crate::collect::Collected;
use crate::explain::{self, Evidence};
use crate::files::FileStore;
use crate::outcome::Executed;
use crate::output::{Printed, rooms, shortened};
use crate::run::Finished;
use crate::slot::{Slot, SlotError};
use crate::whole::{STORE_DEADLINE, too_slow};
use crate::wire::{ExecuteResponse, WORKSPACE};

/// Characters reserved for the lines that name the files with the complete output.
const ROOM_FOR_NOTES: usize = 200;

/// One output stream's part of the answer.
struct Text {
    name: &'static str,
    text: String,
    /// The output before invalid UTF-8 was replaced, if there was any.
    bytes: Option<Vec<u8>>,
    /// Bytes printed.
    total: u64,
    /// The complete output is in a file already, because it exceeded what is kept in memory.
    is_stored: bool,
}

/// `output_characters` is the most characters that stdout and stderr may have together.
pub async fn answer(
    finished: Finished,
    output_characters: Option<usize>,
    collected: Collected,
    slot: &Slot,
    store: &Arc<FileStore>,
) -> Result<Executed, SlotError> {
    let limits = &slot.spawner.policy.limits;
    let Finished { end, crowded, stdout, stderr } = finished;
    let Collected { mut files, omitted, cut_off } = collected;
    let mut notes = Vec::new();
    let mut stdout = whole(("stdout", stdout.end()), &mut files, &mut notes, store).await;
    let mut stderr = whole(("stderr", stderr.end()), &mut files, &mut notes, store).await;
    let (exit_code, outcome) = explain::end(&end, slot, limits, &mut notes)?;
    let evidence = Evidence { crowded, cut_off, full: slot.is_full(), bounded: slot.group.is_some() };
    notes.extend(explain::limit_that_was_met(exit_code, &stderr.text, evidence, limits));
    notes.extend(omitted.iter().map(|line| format!("File not returned: {line}")));
    let characters = |text: &str| text.chars().count();
    let taken = notes.iter().map(|note| characters(note) + 1).sum::<usize>();
    if let Some(most) = output_characters
        && characters(&stdout.text) + characters(&stderr.text) + taken > most
    {
        let rooms = rooms(most.saturating_sub(ROOM_FOR_NOTES + taken), [&stdout.text, &stderr.text]);
        for (stream, room) in [&mut stdout, &mut stderr].into_iter().zip(rooms) {
            stream.shorten(room, &mut files, &mut notes, store).await;
        }
    }
    let (mut stderr, stdout) = (stderr.text, stdout.text);
    for note in notes {
        append_line(&mut stderr, &note);
    }
    Ok(Executed { response: ExecuteResponse { exit_code, files, stderr, stdout }, outcome })
}

/// Takes the part of a stream that was kept. If that is not all, the complete stream is stored as a file.
async fn whole(
    (name, printed): (&'static str, Printed),
    files: &mut IndexMap<String, String>,
    notes: &mut Vec<String>,
    store: &Arc<FileStore>,
) -> Text {
    let Printed { text, replaced, bytes, whole, total } = printed;
    if replaced {
        notes.push(format!("Output: {name} held bytes that are not UTF-8; each was replaced by U+FFFD"));
    }
    let is_stored = whole.is_some();
    match whole {
        Some(Ok((file, length))) => {
            let stored = put(file, length, store).await;
            note_whole(name, stored, (length, total), files, notes);
        }
        Some(Err(error)) => note_whole(name, Err(error), (0, total), files, notes),
        None => {}
    }
    Text { name, text, bytes, total, is_stored }
}

impl Text {
    /// Shortens the text to `room` characters, and stores the complete text as a file.
    async fn shorten(
        &mut self,
        room: usize,
        files: &mut IndexMap<String, String>,
        notes: &mut Vec<String>,
        store: &Arc<FileStore>,
    ) {
        let Some(shortened) = shortened(&self.text, room, self.total) else { return };
        let whole = std::mem::replace(&mut self.text, shortened);
        if !self.is_stored {
            let whole = self.bytes.take().unwrap_or_else(|| whole.into_bytes());
            let length = whole.len() as u64;
            let stored = put(io::Cursor::new(whole), length, store).await;
            note_whole(self.name, stored, (length, length), files, notes);
        }
    }
}

async fn put(content: impl Read + Send + 'static, length: u64, store: &Arc<FileStore>) -> io::Result<String> {
    let store = store.clone();
    let work = tokio::task::spawn_blocking(move || store.put(content, length, None));
    timeout(STORE_DEADLINE, work).await.map_err(|_| too_slow())??
}

/// Adds the file with a stream's first `length` of `total` bytes, and a line that names it.
fn note_whole(
    name: &str,
    stored: io::Result<String>,
    (length, total): (u64, u64),
    files: &mut IndexMap<String, String>,
    notes: &mut Vec<String>,
) {
    let path = free_path(files, name);
    notes.push(match stored {
        Ok(_) if length == total => format!("Output: all {total} bytes of {name} are the file {path}"),
        Ok(_) => format!("Output: the first {length} of {total} bytes of {name} are the file {path}"),
        Err(ref error) => format!("Output: the whole of {name} could not be stored: {error}"),
    });
    files.extend(stored.ok().map(|id| (path, id)));
}

/// A path for a stream's file that none of the program's own files has.
fn free_path(files: &IndexMap<String, String>, name: &str) -> String {
    std::iter::once(format!("{WORKSPACE}{name}.txt"))
        .chain((2..).map(|number| format!("{WORKSPACE}{name}-{number}.txt")))
        .find(|path| !files.contains_key(path))
        .unwrap_or_default()
}

fn append_line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}
