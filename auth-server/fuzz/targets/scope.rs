//! Scopes: reading what we wrote changes nothing, and no operation widens.
#![no_main]

#[path = "../checks/scope.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &str| check::check(input));
