//! The parameter `claims`.
#![no_main]

#[path = "../checks/claims.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &str| check::check(input));
