//! Keeps the compiler's version for the driver's hello.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = std::env::var("RUSTC").expect("cargo sets RUSTC");
    let version = Command::new(compiler).arg("--version").output().expect("the compiler runs");
    println!("cargo::rustc-env=DRIVER_RUNTIME={}", String::from_utf8_lossy(&version.stdout).trim());
}
