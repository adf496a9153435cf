//! Builds the zygote's native library, which this crate embeds as bytes.
//!
//! Cargo has no stable way to depend on a library of this kind (`-Z bindeps` would be one), so this script calls Cargo again. The library is
//! a member of this workspace, with a profile of its own. Compiler, linker, flags and configuration are the same. The target directory is
//! another one, because the outer Cargo holds the lock of its own.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "python-interpreter-zygote";
const PROFILE: &str = "zygote";

fn main() {
    for input in ["zygote/src", "zygote/Cargo.toml", "../../Cargo.toml"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("Cargo sets {name} for build scripts"));
    let out = PathBuf::from(variable("OUT_DIR"));
    let library = out.join("zygote.so");
    if variable("CARGO_CFG_TARGET_OS") != "linux" {
        // Slots exist only on Linux.
        return std::fs::write(&library, []).unwrap_or_else(|error| panic!("{}: {error}", library.display()));
    }
    let (target, directory) = (variable("TARGET"), out.join("zygote"));
    let mut cargo = Command::new(variable("CARGO"));
    cargo.args(["build", "--package", PACKAGE, "--lib", "--features", "standalone"]);
    cargo.args(["--profile", PROFILE, "--target", &target, "--target-dir"]).arg(&directory);
    // The library has no dependencies, and the lock file has just been read.
    cargo.arg("--offline");
    // Clippy sets this, and would produce no library.
    cargo.env_remove("RUSTC_WORKSPACE_WRAPPER");
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("Cargo could not build {PACKAGE}: {status}"),
        Err(error) => panic!("Cargo cannot be run: {error}"),
    }
    let built = directory.join(&target).join(PROFILE).join("libzygote.so");
    std::fs::copy(&built, &library).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
}
