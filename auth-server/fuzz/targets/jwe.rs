//! Encrypted messages, against a key of ours.
#![no_main]

#[path = "../checks/jwe.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &str| check::check(input));
