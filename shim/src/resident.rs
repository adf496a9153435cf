//! Gives back the pages of code while nothing runs. A shim waits most of its life, and there is one for each client.
#![allow(unsafe_code, reason = "that no mapping's content changes is more than the compiler can know")]

use std::{ffi::c_void, fs, ptr};

use rustix::mm::{Advice, madvise};

/// What is needed again is read from its file again, mostly from memory.
pub fn give_back_code() {
    let Ok(mappings) = fs::read_to_string("/proc/self/maps") else { return };
    // All found first: what looks for them is code as well.
    let found: Vec<_> = mappings.lines().filter_map(code).collect();
    for (start, end) in found {
        let start_of_code = ptr::with_exposed_provenance_mut::<c_void>(start);
        // SAFETY: the mapping is of a file and cannot be written to, so what it holds is what the file holds, before and after.
        // Nobody unmaps it: it is this program or a library that it is linked with.
        let _ = unsafe { madvise(start_of_code, end - start, Advice::LinuxDontNeed) };
    }
}

/// Where a mapping begins and ends, if it is code of a file: `start-end r-xp offset device inode path`.
fn code(mapping: &str) -> Option<(usize, usize)> {
    let mut fields = mapping.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (permissions, inode) = (fields.next()?, fields.nth(2)?);
    let address = |text| usize::from_str_radix(text, 16).ok();
    (permissions == "r-xp" && inode != "0").then_some((address(start)?, address(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_given_back() {
        let code_of = |rest: &str| code(&format!("7f00-8f00 {rest}"));
        assert_eq!(code_of("r-xp 00001000 fe:00 42   /usr/bin/python-interpreter-mcp"), Some((0x7f00, 0x8f00)));
        assert_eq!(code_of("r-xp 00000000 00:00 0    [vdso]"), None);
        assert_eq!(code_of("rw-p 00001000 fe:00 42   /usr/bin/python-interpreter-mcp"), None);
        assert_eq!(code_of("r--p 00001000 fe:00 42   /usr/bin/python-interpreter-mcp"), None);
        assert_eq!(code(""), None);
    }

    #[test]
    fn the_program_goes_on_without_the_code_that_it_gave_back() {
        give_back_code();
        assert_eq!(code("1-2 r-xp 0 0 1"), Some((1, 2)));
    }
}
