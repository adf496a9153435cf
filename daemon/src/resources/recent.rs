//! The latest files, which `resources/list` returns. All clients of the user see the same list. Files that are not listed any more can
//! still be read as long as they are stored.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use rmcp::model::Resource;
use tokio::sync::watch;

use super::link::link;

/// The most files that are listed.
const MAX_LISTED: usize = 200;

pub struct Recent {
    files: Mutex<VecDeque<Resource>>,
    changes: watch::Sender<u64>,
}

impl Default for Recent {
    fn default() -> Self {
        Self { files: Mutex::default(), changes: watch::channel(0).0 }
    }
}

impl Recent {
    /// Puts files (path, id) at the start of the list.
    pub fn add<'a>(&self, files: impl Iterator<Item = (&'a String, &'a String)>) {
        let mut changed = false;
        {
            let mut listed = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            for (path, id) in files.take(MAX_LISTED) {
                let resource = link(path, id);
                let before = listed.iter().position(|other| other.uri == resource.uri);
                changed |= before.is_none();
                before.map(|place| listed.remove(place));
                listed.push_front(resource);
            }
            listed.truncate(MAX_LISTED);
        }
        if changed {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    pub fn list(&self) -> Vec<Resource> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Notices each change of the list.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_files_come_first_and_the_list_is_bounded() {
        let recent = Recent::default();
        for number in 0..MAX_LISTED + 50 {
            recent.add([(&format!("/workspace/{number}.txt"), &format!("id{number}"))].into_iter());
        }
        let first = |recent: &Recent| recent.list()[0].uri.clone();
        assert_eq!(
            (recent.list().len(), first(&recent).as_str()),
            (MAX_LISTED, "python-interpreter://files/id249/249.txt")
        );
        let mut changes = recent.changes();
        changes.mark_unchanged();
        recent.add([(&"/workspace/100.txt".to_owned(), &"id100".to_owned())].into_iter());
        assert_eq!(
            (recent.list().len(), first(&recent).as_str()),
            (MAX_LISTED, "python-interpreter://files/id100/100.txt")
        );
        assert!(!changes.has_changed().unwrap(), "the same files in another order");
    }
}
