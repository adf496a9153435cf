//! What a program prints, within a bound: the beginning and the end are kept, the middle is counted.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

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

    /// As text. What is not UTF-8 is replaced, and a gap says how many bytes it stands for.
    pub fn into_text(self) -> String {
        let tail = Vec::from(self.tail);
        if self.omitted == 0 {
            return String::from_utf8_lossy(&[self.head, tail].concat()).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[{} bytes left out]\n{tail}", self.omitted)
    }
}

/// Reads to the end, however long it is; never fails, because what was read before an error is worth having.
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
    use super::Kept;

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
}
