//! Prints the program's output while it runs, and at the end what is still missing: everything if the interpreter does not stream,
//! else what the interpreter adds, such as the name of a limit.

use std::io::{self, Write};

use python_interpreter::wire::ExecuteResponse;
use serde_json::Value;

/// How much of the printed text's end is searched for in the whole text.
const TAIL_BYTES: usize = 4096;

#[derive(Default)]
pub struct Output {
    stdout: Printed,
    stderr: Printed,
}

/// One stream's printed text.
#[derive(Default)]
struct Printed {
    bytes: usize,
    tail: String,
}

impl Output {
    /// Ignores errors: the reader may have closed the pipe, and the exit code still counts.
    pub fn print(&mut self, printed: &Value) {
        if let Some(text) = printed["stdout"].as_str() {
            self.stdout.note(text);
            write(io::stdout(), text);
        }
        if let Some(text) = printed["stderr"].as_str() {
            self.stderr.note(text);
            write(io::stderr(), text);
        }
    }

    pub fn print_rest(&self, response: &ExecuteResponse) {
        write(io::stdout(), self.stdout.rest(&response.stdout));
        write(io::stderr(), self.stderr.rest(&response.stderr));
    }
}

impl Printed {
    fn note(&mut self, text: &str) {
        self.bytes += text.len();
        self.tail.push_str(text);
        let mut excess = self.tail.len().saturating_sub(TAIL_BYTES);
        while !self.tail.is_char_boundary(excess) {
            excess += 1;
        }
        self.tail.drain(..excess);
    }

    /// The part of the whole text that has not been printed.
    fn rest<'a>(&self, whole: &'a str) -> &'a str {
        // The middle of the whole may be left out, so the place is found by the end of the printed text.
        match whole.get(..self.bytes) {
            Some(printed) if printed.ends_with(&self.tail) => &whole[self.bytes..],
            _ => whole.rfind(&self.tail).map_or("", |place| &whole[place + self.tail.len()..]),
        }
    }
}

fn write(mut to: impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_been_printed_is_not_printed_again() {
        let mut printed = Printed::default();
        assert_eq!(printed.rest("all"), "all");
        printed.note("a");
        printed.note("é\n");
        assert_eq!(printed.rest("aé\nlimit"), "limit");
        assert_eq!(printed.rest("aé\n"), "");
        let long = "0123456789".repeat(1000);
        printed.note(&long);
        let shortened = format!("aé\n[10 bytes left out]\n{}limit", &long[5000..]);
        assert_eq!(printed.rest(&shortened), "limit");
    }
}
