//! Tells the program which compiler made it, for the records of its runs.

#![allow(clippy::print_stdout, reason = "it is how a build script speaks to cargo")]

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if let Ok(output) = Command::new(rustc).arg("--version").output()
        && let Ok(version) = String::from_utf8(output.stdout)
    {
        println!("cargo::rustc-env=BPSTA_RUSTC={}", version.trim());
    }
    if let Ok(target) = std::env::var("TARGET") {
        println!("cargo::rustc-env=BPSTA_TARGET={target}");
    }
}
