//! Key sets: the cheap check refuses nothing that the full one accepts, and what is accepted verifies nothing unsigned.
#![no_main]

#[path = "../checks/jwk.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
