//! The last line of a program's output, for whoever waits for the program. It is bounded, and holds no more than that.

use python_interpreter::wire::Event;
use tokio::sync::watch;

/// The longest line that is shown, in characters; of a longer one the end.
const MAX_CHARACTERS: usize = 200;

/// Takes events and tells what the last line is. Lines without anything to see do not count.
pub struct LastLine {
    line: String,
    /// The line has ended: what comes next begins another.
    ended: bool,
    told: watch::Sender<String>,
}

impl LastLine {
    pub fn new(told: watch::Sender<String>) -> Self {
        Self { line: String::new(), ended: false, told }
    }

    pub fn take(&mut self, event: &Event) {
        let (Event::Stdout { stdout: text } | Event::Stderr { stderr: text }) = event else { return };
        // What came before the last lines of a long text is never shown.
        let start = text.char_indices().rev().nth(4 * MAX_CHARACTERS).map_or(0, |(place, _)| place);
        for part in text[start..].split_inclusive(['\n', '\r']) {
            let shown = part.trim_end_matches(['\n', '\r']);
            let begins = self.ended || self.line.is_empty();
            if begins && shown.trim().is_empty() {
                continue;
            }
            if std::mem::take(&mut self.ended) {
                self.line.clear();
            }
            self.line.extend(shown.chars().filter(|character| !character.is_control() || *character == '\t'));
            self.ended = shown.len() < part.len();
        }
        let excess = self.line.chars().count().saturating_sub(MAX_CHARACTERS);
        if let Some((place, _)) = self.line.char_indices().nth(excess) {
            self.line.drain(..place);
        }
        self.told.send_if_modified(|told| {
            let changed = *told != self.line;
            if changed {
                told.clone_from(&self.line);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(pieces: &[&str]) -> String {
        let (told, line) = watch::channel(String::new());
        let mut last = LastLine::new(told);
        for piece in pieces {
            last.take(&Event::Stdout { stdout: (*piece).to_owned() });
        }
        line.borrow().clone()
    }

    #[test]
    fn the_last_line_with_something_in_it_counts() {
        assert_eq!(last(&["one\ntwo\n"]), "two");
        assert_eq!(last(&["one\ntw", "o\n", "\n", "  \n"]), "two");
        assert_eq!(last(&["10 %\r20 %\r", "30 %"]), "30 %");
        assert_eq!(last(&["step", " ", "1", "\n"]), "step 1");
        assert_eq!(last(&["a\x1b[31mb\0c"]), "a[31mbc");
        assert_eq!(last(&[]), "");
    }

    #[test]
    fn a_long_line_shows_its_end() {
        let line = last(&[&"x".repeat(5000), "é"]);
        assert_eq!((line.chars().count(), line.ends_with("xé")), (MAX_CHARACTERS, true));
    }
}
