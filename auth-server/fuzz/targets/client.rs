//! Registrations: what is accepted once is accepted again, unchanged.
#![no_main]

#[path = "../checks/client.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
