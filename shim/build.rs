//! Links the shim with the compiler's static unwinder instead of libgcc_s.so: a library less to load and to hold in memory for each client.
//! Where the compiler has none, nothing changes.

use std::{env, fs, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name| env::var(name).unwrap_or_default();
    // Only where this machine's compiler is the one that links.
    let applies = variable("CARGO_CFG_TARGET_ENV") == "gnu" && variable("TARGET") == variable("HOST");
    let Some(archive) = applies.then(static_unwinder).flatten() else { return };
    let folder = PathBuf::from(variable("OUT_DIR"));
    // The linker takes a text in a library's place for its own commands.
    let script = format!("INPUT({})\n", archive.display());
    if fs::write(folder.join("libgcc_s.so"), script).is_ok() {
        println!("cargo::rustc-link-arg-bins=-L{}", folder.display());
    }
}

fn static_unwinder() -> Option<PathBuf> {
    let found = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim());
    // Of what it does not have, the compiler repeats the name.
    (path.is_absolute() && path.exists()).then_some(path)
}
