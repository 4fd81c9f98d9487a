//! Signed tokens, against keys of every algorithm: nothing unsigned is ever accepted.
#![no_main]

#[path = "../checks/jwt.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &str| check::check(input));
