//! DPoP proofs: made for another request, none is accepted.
#![no_main]

#[path = "../checks/dpop.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &str| check::check(input));
