//! Resource indicators, issuers and addresses.
#![no_main]

#[path = "../checks/resource.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &str| check::check(input));
