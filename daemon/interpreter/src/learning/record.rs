//! What is remembered of programs: the names of installed modules, how often programs import them, and which cannot be preloaded and why.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::scan::is_module_name;

/// Longest file that is read, in bytes.
const LONGEST_FILE: u64 = 1024 * 1024;
/// Most modules that are remembered.
const MOST_MODULES: usize = 512;
/// Most modules that are remembered as left out.
const MOST_LEFT_OUT: usize = 256;
/// Longest reason that is remembered, in characters.
const LONGEST_REASON: usize = 200;
/// A module counts half as much after this many seconds: a week.
const HALF_LIFE: f64 = 7.0 * 24.0 * 3600.0;
/// What is imported very often is forgotten as well, after some weeks.
const MOST_TIMES: f64 = 50.0;
/// A module that counts less is forgotten.
const LEAST: f64 = 0.1;
/// What counts so much is preloaded: two programs within three days, for example.
const ENOUGH: f64 = 1.5;
/// A module that was left out is tried again after this many seconds: it may have been installed anew.
const TRIED_AGAIN: u64 = 24 * 3600;

/// What is remembered, as it is in the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Which Python the modules were left out of.
    python: String,
    modules: BTreeMap<String, Counted>,
    left_out: BTreeMap<String, LeftOut>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Counted {
    /// How many programs imported it, as they counted at `last`.
    times: f64,
    /// Seconds since 1970.
    last: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LeftOut {
    reason: String,
    /// Seconds since 1970.
    at: u64,
}

impl Record {
    /// Reads the file. What is not valid in it is left out. Nothing is remembered if it does not exist.
    pub fn read(file: &Path, now: u64) -> io::Result<Self> {
        let mut text = String::new();
        match File::open(file) {
            Ok(file) => file.take(LONGEST_FILE).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut record: Self = serde_json::from_str(&text)?;
        record.modules.retain(|name, _| is_module_name(name));
        // The clock may have been wrong then, or be wrong now.
        record.modules.values_mut().for_each(|counted| counted.last = counted.last.min(now));
        record.left_out.values_mut().for_each(|left_out| left_out.at = left_out.at.min(now));
        record.forget_what_faded(now);
        Ok(record)
    }

    /// Replaces the file as a whole. Only its owner can read it.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let directory = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mut new = NamedTempFile::new_in(directory)?;
        new.write_all(&serde_json::to_vec(self)?)?;
        new.persist(file)?;
        Ok(())
    }

    /// Counts programs that import `name`.
    pub fn count(&mut self, name: &str, programs: u32, now: u64) {
        let before = self.modules.get(name).map_or(0.0, |counted| counted.at(now));
        let times = (before + f64::from(programs)).min(MOST_TIMES);
        self.modules.insert(name.to_owned(), Counted { times, last: now });
        if self.modules.len() > MOST_MODULES
            && let Some(least) = self.modules.iter().min_by(|one, other| one.1.at(now).total_cmp(&other.1.at(now)))
        {
            let least = least.0.clone();
            self.modules.remove(&least);
        }
        self.forget_what_faded(now);
    }

    /// Also why it was left out.
    fn forget_what_faded(&mut self, now: u64) {
        let Record { modules, left_out, .. } = self;
        modules.retain(|_, counted| counted.at(now) >= LEAST);
        left_out.retain(|name, _| modules.contains_key(name));
    }

    /// Forgets what was left out of another Python. True if there was something.
    pub fn forget_other_pythons(&mut self, python: &str) -> bool {
        if self.python == python {
            return false;
        }
        python.clone_into(&mut self.python);
        !std::mem::take(&mut self.left_out).is_empty()
    }

    /// The modules that programs import again and again, and that were not left out lately. The most used come first.
    pub fn wanted(&self, now: u64) -> Vec<String> {
        let is_left_out =
            |name: &str| self.left_out.get(name).is_some_and(|left_out| now.saturating_sub(left_out.at) < TRIED_AGAIN);
        let mut wanted: Vec<_> = self.modules.iter().map(|(name, counted)| (name, counted.at(now))).collect();
        wanted.retain(|(name, times)| *times >= ENOUGH && !is_left_out(name));
        wanted.sort_by(|one, other| other.1.total_cmp(&one.1));
        wanted.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// Remembers why `name` is left out. True if that was not known.
    pub fn leave_out(&mut self, name: &str, reason: &str, now: u64) -> bool {
        let reason: String = reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        let known = self.left_out.get(name).is_some_and(|left_out| left_out.reason == reason);
        if self.left_out.len() >= MOST_LEFT_OUT
            && let Some(oldest) = self.left_out.iter().min_by_key(|(_, left_out)| left_out.at)
        {
            let oldest = oldest.0.clone();
            self.left_out.remove(&oldest);
        }
        self.left_out.insert(name.to_owned(), LeftOut { reason, at: now });
        !known
    }

    /// `name` can be preloaded. True if it was left out before.
    pub fn admit(&mut self, name: &str) -> bool {
        self.left_out.remove(name).is_some()
    }

    /// `name` is no module, or not any more.
    pub fn forget(&mut self, name: &str) {
        self.modules.remove(name);
        self.left_out.remove(name);
    }

    /// How many programs imported each module, as they count now. The most used come first.
    pub fn counted(&self, now: u64) -> Vec<(String, f64)> {
        let mut counted: Vec<_> = self.modules.iter().map(|(name, counted)| (name.clone(), counted.at(now))).collect();
        counted.retain(|(_, times)| *times >= LEAST);
        counted.sort_by(|one, other| other.1.total_cmp(&one.1));
        counted
    }

    /// Module → why it is left out.
    pub fn left_out(&self) -> BTreeMap<String, String> {
        self.left_out.iter().map(|(name, left_out)| (name.clone(), left_out.reason.clone())).collect()
    }
}

impl Counted {
    fn at(&self, now: u64) -> f64 {
        self.times * 0.5_f64.powf(now.saturating_sub(self.last) as f64 / HALF_LIFE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;
    const NOW: u64 = 1_800_000_000;

    fn with(times: &[(&str, u32, u64)]) -> Record {
        let mut record = Record::default();
        times.iter().for_each(|(name, programs, at)| record.count(name, *programs, *at));
        record
    }

    #[test]
    fn what_is_imported_again_and_again_is_wanted_until_it_is_not_any_more() {
        let record = with(&[("once", 1, NOW), ("twice", 1, NOW - 2 * DAY), ("twice", 1, NOW), ("often", 1000, NOW)]);
        assert_eq!(record.wanted(NOW), ["often", "twice"]);
        assert_eq!(record.wanted(NOW + 4 * DAY), ["often"]);
        assert_eq!(record.wanted(NOW + 36 * DAY), Vec::<String>::new());
        assert_eq!(with(&[("rarely", 1, NOW - 9 * DAY), ("rarely", 1, NOW)]).wanted(NOW), Vec::<String>::new());
    }

    #[test]
    fn what_was_left_out_is_named_once_and_tried_again_a_day_later_or_with_another_python() {
        let mut record = with(&[("left", 9, NOW)]);
        record.forget_other_pythons("one");
        assert!(record.leave_out("left", "a\nreason", NOW) && record.wanted(NOW).is_empty());
        assert_eq!(record.left_out()["left"], "a reason");
        assert!(!record.forget_other_pythons("one") && record.wanted(NOW + DAY - 1).is_empty());
        assert_eq!(record.wanted(NOW + DAY), ["left"]);
        assert!(!record.leave_out("left", "a\nreason", NOW + DAY) && record.leave_out("left", "another", NOW + DAY));
        assert!(record.forget_other_pythons("another") && record.left_out().is_empty());
        assert_eq!(record.wanted(NOW), ["left"]);
    }

    #[test]
    fn why_a_module_is_left_out_is_forgotten_with_the_module() {
        let mut record = with(&[("faded", 1, NOW)]);
        record.leave_out("faded", "reason", NOW);
        record.count("other", 1, NOW + 20 * DAY);
        assert_eq!(record.left_out().len(), 1);
        record.count("other", 1, NOW + 60 * DAY);
        assert!(record.left_out().is_empty() && !record.modules.contains_key("faded"));
    }

    #[test]
    fn the_number_of_names_is_bounded_and_the_most_used_stay() {
        let mut record = with(&[("used", 3, NOW)]);
        (0..3000).for_each(|number| record.count(&format!("m{number}"), 1, NOW));
        for number in 0..3000 {
            record.leave_out(&format!("m{number}"), &"x".repeat(9999), NOW + number);
        }
        assert_eq!((record.modules.len(), record.left_out.len()), (MOST_MODULES, MOST_LEFT_OUT));
        assert!(record.modules.contains_key("used") && record.left_out.contains_key("m2999"));
        assert_eq!(record.left_out["m2999"].reason.len(), LONGEST_REASON);
    }

    #[test]
    fn the_file_is_its_owners_and_what_is_wrong_in_it_is_left_out() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        assert_eq!(Record::read(&file, NOW).unwrap(), Record::default());
        let mut record = with(&[("good", 2, NOW), ("of; evil", 2, NOW), ("later", 2, NOW + 1)]);
        record.leave_out("later", "reason", NOW + 1);
        record.leave_out("gone", "reason", NOW);
        record.write(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        record = Record::read(&file, NOW).unwrap();
        // A clock that was ahead takes nothing away.
        assert_eq!((record.modules["later"].last, record.left_out["later"].at), (NOW, NOW));
        assert_eq!((record.wanted(NOW), record.left_out.len()), (vec!["good".to_owned()], 1));
        std::fs::write(&file, "{").unwrap();
        assert!(Record::read(&file, NOW).is_err());
    }
}
