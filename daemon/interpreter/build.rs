//! Compiles the zygote's native part, which Python loads: a library that no Cargo dependency can be, put into this crate as bytes.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCES: &str = "zygote/src";

fn main() {
    println!("cargo::rerun-if-changed={SOURCES}");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("Cargo sets {name} for build scripts"));
    let library = PathBuf::from(variable("OUT_DIR")).join("zygote.so");
    if variable("CARGO_CFG_TARGET_OS") != "linux" {
        // There are no slots to fork into.
        return std::fs::write(&library, []).unwrap_or_else(|error| panic!("{}: {error}", library.display()));
    }
    let mut compiler = Command::new(variable("RUSTC"));
    compiler.args([
        "--crate-name",
        "zygote",
        "--crate-type",
        "cdylib",
        "--edition",
        "2024",
        "--cfg",
        "feature=\"standalone\"",
    ]);
    compiler.args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "lto=fat", "-C", "strip=symbols"]);
    compiler.args(["--target", &variable("TARGET")]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compiler.arg("-C").arg(format!("linker={linker}"));
    }
    let status = compiler.arg("-o").arg(&library).arg(format!("{SOURCES}/lib.rs")).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("rustc could not compile {SOURCES}: {status}"),
        Err(error) => panic!("rustc cannot be run: {error}"),
    }
}
