//! Takes the unwinder from the static library of GCC where there is one, so that the binary needs nothing but glibc: the
//! shared one, `libgcc_s.so.1`, is missing on small systems.

use std::env::var;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, wanted: &str| var(name).is_ok_and(|value| value == wanted);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && found() {
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}

/// True when the C compiler, which links as well, has the library; not asked when building for another machine.
fn found() -> bool {
    let native = var("HOST").is_ok_and(|host| var("TARGET").is_ok_and(|target| target == host));
    let asked = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output();
    native
        && asked.is_ok_and(|answer| {
            Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_absolute()
        })
}
