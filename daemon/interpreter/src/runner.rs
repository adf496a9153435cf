//! The project's own files in every root: the zygote's script, its modules and its native library, and the modules that every Python in a slot imports
//! at its start.

use crate::protocol;

/// The zygote's script.
pub const ZYGOTE_SCRIPT: &str = "/python-interpreter/zygote.py";
/// The library that the script loads.
pub const ZYGOTE_LIBRARY: &str = "/python-interpreter/zygote.so";
/// The rehearsal's path as a `str`.
const REHEARSAL: &str = match protocol::REHEARSAL.to_str() {
    Ok(path) => path,
    Err(_) => panic!("the path is not UTF-8"),
};
/// On the module path of every Python in a slot.
pub const SITE: &str = "/python-interpreter/site";

/// Where a slot shows the bytecode that is kept for it.
pub const BYTECODE: &str = "/python-interpreter/bytecode";

/// (path in the root, content)
pub const FILES: [(&str, &[u8]); 8] = [
    (ZYGOTE_SCRIPT, include_bytes!("../runner/zygote.py")),
    ("/python-interpreter/loading.py", include_bytes!("../runner/loading.py")),
    ("/python-interpreter/learned.py", include_bytes!("../runner/learned.py")),
    ("/python-interpreter/remains.py", include_bytes!("../runner/remains.py")),
    (REHEARSAL, include_bytes!("../runner/rehearsal.py")),
    (ZYGOTE_LIBRARY, include_bytes!(concat!(env!("OUT_DIR"), "/zygote.so"))),
    ("/python-interpreter/site/sitecustomize.py", include_bytes!("../runner/site/sitecustomize.py")),
    ("/python-interpreter/site/matplotlib_to_file.py", include_bytes!("../runner/site/matplotlib_to_file.py")),
];

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::{FILES, ZYGOTE_LIBRARY};

    /// A module that Python loads later would find any other exported symbol in place of the real one.
    #[test]
    fn the_library_exports_nothing_but_what_python_looks_for() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("zygote.so");
        let (_, content) = FILES.iter().find(|(path, _)| *path == ZYGOTE_LIBRARY).unwrap();
        std::fs::write(&file, content).unwrap();
        // Part of binutils, which linking needs anyway.
        let listed = Command::new("readelf").args(["--dyn-syms", "--wide"]).arg(&file).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        // Number, value, size, kind, binding, visibility, section, name.
        let symbols = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let symbols = symbols.filter(|fields| fields.len() == 8 && fields[0] != "Num:");
        let exported: Vec<_> = symbols.filter(|fields| fields[6] != "UND").map(|fields| fields[7].to_owned()).collect();
        assert_eq!(exported, ["PyInit_zygote"]);
    }
}
