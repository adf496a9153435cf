//! What is put beside the host's Python in every root: the zygote's Python and native part, and what programs' Pythons import at
//! their start.

/// The zygote's script.
pub const ZYGOTE: &str = "/python-interpreter/zygote.py";
/// The library that it loads.
pub const LIBRARY: &str = "/python-interpreter/zygote.so";
/// On the module path of every Python in a slot.
pub const SITE: &str = "/python-interpreter/site";

/// (path in the root, content)
pub const FILES: [(&str, &[u8]); 5] = [
    (ZYGOTE, include_bytes!("../runner/zygote.py")),
    ("/python-interpreter/rehearsal.py", include_bytes!("../runner/rehearsal.py")),
    (LIBRARY, include_bytes!(concat!(env!("OUT_DIR"), "/zygote.so"))),
    ("/python-interpreter/site/sitecustomize.py", include_bytes!("../runner/site/sitecustomize.py")),
    ("/python-interpreter/site/matplotlib_to_file.py", include_bytes!("../runner/site/matplotlib_to_file.py")),
];
