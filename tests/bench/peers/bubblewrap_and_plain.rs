//! Python without a server: a process for each program, by itself and in bubblewrap.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::fresh_process::FreshProcess;
use super::interface::{Candidate, Isolation, Place, text};
use super::software::{install, run};

pub const PLAIN: Candidate = Candidate {
    name: "python3 -c",
    isolation: Isolation::Absent,
    is_cpython: true,
    install: |_| {
        Ok(Box::new(|place| {
            let words = [text(&place.python)?, "-c"].map(str::to_owned).into();
            Ok(Box::new(FreshProcess { words, home: place.home("python")? }))
        }))
    },
};

pub const BUBBLEWRAP: Candidate = Candidate {
    name: "bubblewrap + python3 -c",
    isolation: Isolation::Full,
    is_cpython: true,
    install: |_| {
        let program = bubblewrap()?;
        Ok(Box::new(move |place| {
            Ok(Box::new(FreshProcess { words: within(&program, place)?, home: place.home("bubblewrap")? }))
        }))
    },
};

/// This machine's, or Debian's, unpacked without being installed.
fn bubblewrap() -> Result<PathBuf> {
    let own = Path::new("/usr/bin/bwrap");
    if own.exists() {
        return Ok(own.to_owned());
    }
    let place = install("bubblewrap", "bubblewrap", |place, log| {
        let mut download = Command::new("apt-get");
        download.args(["download", "bubblewrap"]).current_dir(place);
        if run(&download, log).is_err() {
            // A new machine has no lists of packages.
            run(Command::new("apt-get").arg("update"), log)?;
            run(&download, log)?;
        }
        run(Command::new("sh").args(["-c", "dpkg -x bubblewrap_*.deb ."]).current_dir(place), log)
    })?;
    Ok(place.join("usr/bin/bwrap"))
}

/// As its manual advises: the system read-only, everything else new.
fn within(program: &Path, place: &Place) -> Result<Vec<String>> {
    let environment = place.python.ancestors().nth(2).unwrap_or(&place.python);
    let (program, python, environment) = (text(program)?, text(&place.python)?, text(environment)?);
    let system = "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64";
    let new = "--proc /proc --dev /dev --tmpfs /tmp --tmpfs /workspace --setenv HOME /workspace --chdir /workspace";
    let apart = "--unshare-all --die-with-parent --new-session";
    // The environment after what is new, which may be above it.
    let words = format!("{system} {new} --ro-bind {environment} {environment} {apart}");
    let words = words.split(' ').map(str::to_owned);
    Ok([program.to_owned()].into_iter().chain(words).chain([python, "-c"].map(str::to_owned)).collect())
}
