//! A program's output, within bounds: its beginning and end are kept for the answer, longer output goes to a file, and the rest is only
//! counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use crate::files::FileStore;
use crate::whole::Whole;
use crate::wire::Event;

/// Length of the text that stands for a gap, in characters, without its number.
const GAP: usize = "\n[ bytes left out]\n".len();

/// The kept part of one output stream.
#[derive(Debug)]
pub struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    limit: usize,
    omitted: u64,
}

impl Kept {
    /// Keeps at most `limit` bytes, half of them from the end.
    pub fn new(limit: usize) -> Self {
        Kept { head: Vec::new(), tail: VecDeque::new(), limit, omitted: 0 }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let room = (self.limit - self.limit / 2).saturating_sub(self.head.len());
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.limit / 2);
        self.tail.drain(..excess);
        self.omitted += excess as u64;
    }

    fn bytes(&self) -> Vec<u8> {
        self.head.iter().chain(&self.tail).copied().collect()
    }

    /// As text. Invalid UTF-8 is replaced, and a gap is marked with the number of bytes left out.
    pub fn into_text(self) -> String {
        let tail = Vec::from(self.tail);
        if self.omitted == 0 {
            return String::from_utf8_lossy(&[self.head, tail].concat()).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[{} bytes left out]\n{tail}", self.omitted)
    }
}

/// One of a program's output streams while it is read.
pub struct Stream {
    kept: Kept,
    decoder: Decoder,
    /// Everything from the first byte on, once that is more than the answer keeps.
    whole: Option<Whole>,
    /// Bytes printed so far.
    total: u64,
    store: Arc<FileStore>,
    /// Most bytes stored in a file.
    limit: u64,
}

/// An output stream after its end.
pub struct Printed {
    pub text: String,
    /// The stream contained invalid UTF-8, which was replaced.
    pub replaced: bool,
    /// The stream before the replacement, if the text has no gap.
    pub bytes: Option<Vec<u8>>,
    /// If the text has a gap: a file with the whole stream or its beginning, and the file's length in bytes, or why it could not be written.
    pub whole: Option<io::Result<(File, u64)>>,
    /// Bytes printed.
    pub total: u64,
}

impl Stream {
    /// Keeps at most `shown` bytes for the answer, and stores at most `stored` bytes in a file.
    pub fn new(shown: usize, stored: u64, store: Arc<FileStore>) -> Self {
        Stream { kept: Kept::new(shown), decoder: Decoder::default(), whole: None, total: 0, store, limit: stored }
    }

    /// Adds printed bytes, and returns them as text. A character that is still incomplete is returned with the next bytes.
    fn push(&mut self, bytes: &[u8]) -> String {
        self.total += bytes.len() as u64;
        if self.whole.is_none() && self.limit > 0 && self.total > self.kept.limit as u64 {
            let mut whole = Whole::new(self.store.clone(), self.limit);
            // Up to here nothing was left out.
            let (first, second) = self.kept.tail.as_slices();
            [&self.kept.head, first, second].into_iter().for_each(|part| whole.push(part));
            self.whole = Some(whole);
        }
        if let Some(whole) = &mut self.whole {
            whole.push(bytes);
        }
        self.kept.push(bytes);
        self.decoder.decode(bytes)
    }

    pub fn end(mut self) -> Printed {
        self.decoder.end();
        let replaced = self.decoder.replaced;
        let bytes = (replaced && self.kept.omitted == 0).then(|| self.kept.bytes());
        let whole = self.whole.map(Whole::end);
        Printed { text: self.kept.into_text(), replaced, bytes, whole, total: self.total }
    }
}

/// How many characters each of two texts may have so that both together have at most `most`. The shorter one gets up to half, the other
/// one the rest.
pub fn rooms(most: usize, texts: [&str; 2]) -> [usize; 2] {
    let [first, second] = texts.map(|text| text.chars().count());
    if first <= second {
        let room = first.min(most / 2);
        [room, most - room]
    } else {
        let room = second.min(most / 2);
        [most - room, room]
    }
}

/// Shortens a text to `most` characters: its beginning, a mark with the number of bytes left out, and its end. `total` is the number of
/// bytes printed, which may be more than the text has. `None` if the text is short enough.
pub fn shortened(text: &str, most: usize, total: u64) -> Option<String> {
    // A quick check: there are never more characters than bytes.
    if text.len() <= most {
        return None;
    }
    let count = text.chars().count();
    if count <= most {
        return None;
    }
    let kept = most.saturating_sub(GAP + total.to_string().len());
    let at = |character: usize| text.char_indices().nth(character).map_or(text.len(), |(place, _)| place);
    let (head, tail) = (at(kept - kept / 2), at(count - kept / 2));
    let (head, tail) = (&text[..head], &text[tail..]);
    Some(format!("{head}\n[{} bytes left out]\n{tail}", total.saturating_sub((head.len() + tail.len()) as u64)))
}

/// Decodes UTF-8 that comes in pieces.
#[derive(Debug, Default)]
struct Decoder {
    /// The beginning of an incomplete character.
    rest: Vec<u8>,
    replaced: bool,
}

impl Decoder {
    fn decode(&mut self, bytes: &[u8]) -> String {
        let mut text = String::new();
        let joined;
        let mut bytes = if self.rest.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.rest).as_slice(), bytes].concat();
            &joined
        };
        while let Err(error) = std::str::from_utf8(bytes) {
            let (valid, after) = bytes.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            let Some(length) = error.error_len() else {
                self.rest = after.to_vec();
                return text;
            };
            self.replaced = true;
            text.push(char::REPLACEMENT_CHARACTER);
            bytes = &after[length..];
        }
        text.push_str(&String::from_utf8_lossy(bytes));
        text
    }

    fn end(&mut self) {
        self.replaced |= !self.rest.is_empty();
    }
}

/// Where a stream's text is sent while the program runs.
#[derive(Clone, Copy)]
pub struct Sink<'a> {
    pub events: &'a Sender<Event>,
    pub event: fn(String) -> Event,
}

/// What the reader of a stream must know about the program.
#[derive(Debug, Default)]
pub struct Progress {
    /// Cancelled when the program has ended. From then on an event for which there is no room is dropped: the result has the output.
    pub over: CancellationToken,
    /// Cancelled [`STORE_DEADLINE`](crate::whole::STORE_DEADLINE) later. What the disk has not taken by then is not stored.
    pub late: CancellationToken,
}

/// Reads a stream to its end. An error counts as the end, because the output before it is still worth returning.
pub async fn read_stream(
    mut from: impl AsyncRead + Unpin,
    stream: &mut Stream,
    sink: Option<Sink<'_>>,
    progress: &Progress,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer).await
        && length > 0
    {
        let text = stream.push(&buffer[..length]);
        if let Some(whole) = &mut stream.whole {
            whole.write(false, &progress.late).await;
        }
        if let Some(Sink { events, event }) = sink
            && !text.is_empty()
        {
            send(events, event(text), progress).await;
        }
    }
    if let Some(whole) = &mut stream.whole {
        whole.write(true, &progress.late).await;
    }
}

/// Sends an event if there is room. If there is none, the client is slow, and the program waits, within its time limit. If the client is gone,
/// the event is dropped.
async fn send(events: &Sender<Event>, event: Event, progress: &Progress) {
    let Err(TrySendError::Full(event)) = events.try_send(event) else { return };
    tokio::select! {
        _ = events.send(event) => {}
        () = progress.over.cancelled() => {}
    }
}

/// Reads to the end, and keeps what fits.
pub async fn drain(mut from: impl AsyncRead + Unpin, kept: &mut Kept) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer).await
        && length > 0
    {
        kept.push(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{Kept, Progress, Sink, Stream, read_stream, rooms, shortened};
    use crate::files::FileStore;
    use crate::wire::Event;

    fn kept(limit: usize, pieces: &[&str]) -> String {
        let mut kept = Kept::new(limit);
        pieces.iter().for_each(|piece| kept.push(piece.as_bytes()));
        kept.into_text()
    }

    #[test]
    fn output_within_the_limit_is_kept_whole() {
        assert_eq!(kept(6, &["abc", "", "def"]), "abcdef");
        assert_eq!(kept(7, &["abcdefg"]), "abcdefg");
    }

    #[test]
    fn the_middle_of_longer_output_is_counted() {
        assert_eq!(kept(4, &["abcdef"]), "ab\n[2 bytes left out]\nef");
        assert_eq!(kept(4, &["a", "b", "c", "d", "e", "f", "g"]), "ab\n[3 bytes left out]\nfg");
    }

    #[test]
    fn a_character_split_between_reads_is_whole_again() {
        let mut kept = Kept::new(100);
        "é".as_bytes().iter().for_each(|byte| kept.push(&[*byte]));
        assert_eq!(kept.into_text(), "é");
    }

    #[test]
    fn a_character_across_the_halves_is_whole_again() {
        assert_eq!(kept(3, &["aé"]), "aé");
    }

    #[test]
    fn two_texts_share_their_room() {
        assert_eq!(rooms(10, ["", "abcdefghijklmn"]), [0, 10]);
        assert_eq!(rooms(10, ["abcdefghijklmn", "ab"]), [8, 2]);
        assert_eq!(rooms(10, ["abcdefghijklmn", "abcdefghijklm"]), [5, 5]);
        assert_eq!(rooms(0, ["a", "b"]), [0, 0]);
    }

    #[test]
    fn a_text_is_shortened_between_characters_and_says_by_how_much() {
        assert_eq!(shortened("é".repeat(50).as_str(), 50, 100), None);
        let short = shortened("é".repeat(100).as_str(), 50, 200).unwrap();
        assert_eq!(short, format!("{}\n[144 bytes left out]\n{}", "é".repeat(14), "é".repeat(14)));
        assert_eq!(short.chars().count(), 50);
        assert_eq!(shortened("abc", 0, 3).unwrap(), "\n[3 bytes left out]\n");
    }

    #[test]
    fn a_gap_within_a_gap_is_counted_from_the_whole() {
        let text = kept(1000, &["x".repeat(5000).as_str()]);
        let short = shortened(&text, 101, 5000).unwrap();
        let (head, rest) = short.split_once("\n[").unwrap();
        let (omitted, tail) = rest.split_once(" bytes left out]\n").unwrap();
        assert_eq!(omitted.parse::<usize>().unwrap() + head.len() + tail.len(), 5000);
    }

    async fn stream(shown: usize, stored: u64, pieces: &[&[u8]]) -> (Vec<String>, super::Printed) {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path().join("files")).unwrap();
        let mut stream = Stream::new(shown, stored, store.into());
        let events = pieces.iter().map(|piece| stream.push(piece)).collect();
        read_stream(tokio::io::empty(), &mut stream, None, &Progress::default()).await;
        (events, stream.end())
    }

    #[tokio::test]
    async fn events_hold_whole_characters_and_say_what_was_replaced() {
        let (events, printed) = stream(100, 100, &[b"a\xc3", b"\xa9b", b"\xff", b"\xc3"]).await;
        assert_eq!(events, ["a", "éb", "\u{fffd}", ""]);
        assert!(printed.replaced && printed.whole.is_none());
        assert!(!stream(100, 100, &["é".as_bytes()]).await.1.replaced);
    }

    #[tokio::test]
    async fn what_is_read_after_the_end_is_an_event_as_long_as_there_is_room() {
        let (events, mut receiver) = tokio::sync::mpsc::channel(64);
        let sink = Sink { events: &events, event: |stdout| Event::Stdout { stdout } };
        let progress = Progress::default();
        progress.over.cancel();
        let directory = tempfile::tempdir().unwrap();
        let store = std::sync::Arc::new(FileStore::open(directory.path().join("files")).unwrap());
        for _ in 0..65 {
            let mut stream = Stream::new(100, 0, store.clone());
            read_stream(&b"late"[..], &mut stream, Some(sink), &progress).await;
        }
        drop(events);
        for _ in 0..64 {
            assert!(matches!(receiver.recv().await, Some(Event::Stdout { stdout }) if stdout == "late"));
        }
        assert!(receiver.recv().await.is_none());
    }

    #[tokio::test]
    async fn the_whole_is_a_file_where_the_answer_has_a_gap() {
        for (stored, expected) in [(100, "abcdefgh"), (5, "abcde")] {
            let printed = stream(4, stored, &[b"abc", b"def", b"gh"]).await.1;
            assert_eq!((printed.text.as_str(), printed.total), ("ab\n[4 bytes left out]\ngh", 8));
            let (mut file, length) = printed.whole.unwrap().unwrap();
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            assert_eq!((content.as_str(), length), (expected, expected.len() as u64));
        }
        assert!(stream(4, 0, &[b"abcdefgh"]).await.1.whole.is_none());
    }
}
