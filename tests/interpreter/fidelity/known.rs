//! The programs that are excused from behaving as under plain Python.

/// Where a program differs that runs in a fork of a warm Python, and why: only in these parts of its outcome, and always.
pub struct Known {
    pub title: &'static str,
    pub parts: &'static [Part],
    /// Only where large modules are imported ahead.
    pub only_with_packages: bool,
    _reason: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    ExitCode,
    Stdout,
    Stderr,
    Files,
}

const fn known(title: &'static str, parts: &'static [Part], reason: &'static str) -> Known {
    Known { title, parts, only_with_packages: false, _reason: reason }
}

const fn known_with_packages(title: &'static str, parts: &'static [Part], reason: &'static str) -> Known {
    Known { title, parts, only_with_packages: true, _reason: reason }
}

pub const KNOWN: [Known; 13] = [
    known(
        "asynchronous.py: without a loop",
        &[Part::Stderr],
        "objects die in another order where modules imported ahead stay whole",
    ),
    known(
        "exit_order.py: objects in other modules",
        &[Part::Stdout],
        "Python never destroys what sys and builtins hold; here it is",
    ),
    known(
        "exit_order.py: an exception in __del__ while leaving",
        &[Part::Stderr],
        "the source line can still be shown",
    ),
    known(
        "exit_order.py: functions that are called when the interpreter is nearly gone",
        &[Part::Stdout, Part::Files],
        "it is not gone: they work",
    ),
    known("recursion.py: in an atexit function", &[Part::Stdout], "one call deeper"),
    known_with_packages(
        "faults.py: a segmentation fault",
        &[Part::Stderr],
        "the list of extension modules has those imported ahead",
    ),
    known_with_packages("faults.py: a fatal error", &[Part::Stderr], "the same"),
    known_with_packages("faults.py: an abort", &[Part::Stderr], "the same"),
    known_with_packages(
        "watching.py: sys.settrace that stays on",
        &[Part::Stdout],
        "what was imported ahead has something to do at the end",
    ),
    known_with_packages("watching.py: a profile that stays on", &[Part::Stdout], "the same"),
    known_with_packages(
        "warned.py: filters from the start",
        &[Part::Stdout],
        "libraries that were imported ahead have added theirs",
    ),
    known_with_packages(
        "imports.py: a module that another is to do without",
        &[Part::Stdout],
        "with many modules imported ahead they are all there before the program begins",
    ),
    known_with_packages("imports.py: a module in the place of one that another uses", &[Part::Stdout], "the same"),
];
